"""Classes and values together, of tables, images and texts: from columns to what is predicted, exported and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lab.cli.main import main
from lab.errors import SpecError, StudyError, TaskError
from lab.report.page import render
from lab.spec.study import parse_spec
from lab.study.distill import distill
from lab.study.model_folder import CARD, CONFIG, PROGRAM, export_model
from lab.study.pseudo_labels import pseudo_label
from lab.study.study import Study
from lab.tasks.table.task import Table
from tests.cli.refusal import refuse
from tests.own_data import pixels, reviews, table, write_table, write_texts
from tests.own_studies import SPACE, own_spec
from tests.small import write_yaml


def _rows(count: int, seed: int = 0) -> pd.DataFrame:
    frame = table(count, seed)
    random = np.random.default_rng(seed + 100)
    size = 50 + 10 * frame["number"] + random.normal(size=count)
    small = (frame["letter"] == "y") != (random.random(count) < 0.1)
    return frame.assign(size=size, kind=np.where(small, "small", "large"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("several")
    path = write_table(folder / "table.csv", _rows(120))
    task = {"kind": "table", "path": str(path), "target": ["answer", "size", "kind"], "layers": [16]}
    spec = own_spec(task) | {"space": {**SPACE, "primary_weight": {"low": 0.5, "high": 2.0}}}
    made = Study.from_spec(parse_spec(spec), folder / "run")
    made.run()
    return made


def test_each_target_is_scored_and_the_first_ranks(study: Study) -> None:
    names = {"accuracy_answer", "rmse_size", "accuracy_kind"}
    assert names <= set(study.result.trials)
    assert study.result.summary.metric == study.result.summary.test_metric == "accuracy_answer"
    assert set(study.result.artefact("refit")["test"]) == names
    baselines = study.result.artefact("ensemble")["baselines"]
    assert [set(one["test"]) for one in baselines] == [names] * 3
    assert "rmse_size" in render(study.spec, study.record)


def test_predictions_have_a_column_for_each(study: Study, tmp_path: Path) -> None:
    new = _rows(5, seed=3).drop(columns=["answer", "size", "kind"])
    said = study.result.ensemble.predict(new)
    assert list(said) == [
        *("answer", "p_answer_no", "p_answer_yes", "size"),
        *("kind", "p_kind_large", "p_kind_small"),
    ]
    np.testing.assert_allclose(said[["p_answer_no", "p_answer_yes"]].sum(axis=1), 1, rtol=1e-5)
    assert said["size"].dtype.kind == "f"
    scored = study.result.ensemble.read(write_table(tmp_path / "all.csv", _rows(9, seed=4)))
    assert scored.y is not None
    assert scored.y.shape == (9, 3)


def test_an_exported_model_gives_probabilities_and_values(study: Study, tmp_path: Path) -> None:
    ensemble = study.result.ensemble
    x, y = ensemble.test_data()
    export_model(ensemble, study.result.summary, tmp_path / "model", x, y)
    outputs = torch.export.load(tmp_path / "model" / PROGRAM).module()(x[:5])
    torch.testing.assert_close(outputs, ensemble.task.outward(ensemble.predict_by_nets(x[:5])), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outputs[:, :2].sum(dim=1), torch.ones(5))


def test_nobody_is_taught_by_them(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="distill: predictions have another form than targets"):
        distill(study, tmp_path / "student")
    rows = write_table(tmp_path / "rows.csv", _rows(9).drop(columns="answer"))
    with pytest.raises(StudyError, match="pseudo-label: predictions have another form than targets"):
        pseudo_label(study, rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"primary": "letter"}, "task.primary: 'letter' is no target; those are answer, size"),
        ({"target_weights": {"day": 2}}, "task.target_weights: 'day' is no target; those are answer, size"),
        ({"target_weights": {"size": -1}}, "task.target_weights: {'size': -1} is not a mapping of targets to numbers"),
        ({"types": {"size": "date"}}, "task.types.size: 'date': a target is a number or a category"),
        ({"metric": "r2"}, "task.metric: 'r2' is not for a target of classification"),
        ({"metric": "rmse"}, "task.metric: 'rmse' is not for a target of classification"),
        ({"metric": "own.py:own", "direction": "maximize"}, "task.metric: the file own.py does not exist"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", _rows(60))
    with pytest.raises(SpecError) as caught:
        Table(str(path), ["answer", "size"], **options).describe()
    assert str(caught.value).startswith(message)


def test_a_metric_that_says_nothing_of_the_primary_target_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", _rows(60).assign(size=lambda rows: rows["size"].round() - 50))
    with pytest.raises(SpecError, match=r"task.metric: 'mape' is undefined on the .* examples: .* targets are 0"):
        Table(str(path), ["answer", "size"], primary="size", metric="mape", types={"size": "number"}).describe()


def test_classes_are_not_weighed_beside_values(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table.csv", _rows(60))
    task = Table(str(path), ["answer", "size"], balance=0.5)
    with pytest.raises(TaskError, match=r"task.balance: .* is for a target of classes alone"):
        task.draw(4, np.random.default_rng(0), {})
    weighed = Table(str(path), ["answer", "size"], primary="size", target_weights={"size": 2.0})
    drawn = weighed.draw(2, np.random.default_rng(0), {"primary_weight": 3.0})
    assert drawn is not None
    assert drawn.tolist() == [[1, 6], [1, 6]]


def test_a_class_that_training_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = _rows(60).assign(split=["train"] * 40 + ["valid"] * 10 + ["test"] * 10)
    frame.loc[45, "kind"] = "huge"
    path = write_table(tmp_path / "table.csv", frame)
    task: dict[str, Any] = {"kind": "table", "path": str(path), "target": ["kind", "size"]}
    task["split"] = {"kind": "declared", "by": "split"}

    spec = write_yaml(tmp_path / "spec.yaml", own_spec(task))
    said = refuse(capsys, monkeypatch, "study", "run", spec, "--dir", tmp_path / "run")
    assert said == "target 'kind': class 'huge' is not in the training rows"
    assert not (tmp_path / "run").exists()


def test_a_box_and_its_class_are_predicted_of_images(tmp_path: Path) -> None:
    for i, array in enumerate(pixels(60)):
        Image.fromarray(array).save(tmp_path / f"{i}.png")
    size = np.random.default_rng(0).normal(50, 10, 60)
    frame = pd.DataFrame({"image": [f"{i}.png" for i in range(60)], "kind": ["dark", "bright"] * 30, "size": size})
    path = write_table(tmp_path / "boxes.csv", frame)
    spec = own_spec({"kind": "images", "path": str(path), "target": ["kind", "size"]})
    study = Study.from_spec(parse_spec(spec), tmp_path / "run")
    study.run()

    ensemble = study.result.ensemble
    x, y = ensemble.test_data()
    assert set(study.result.artefact("refit")["test"]) == {"accuracy_kind", "rmse_size"}
    page = render(study.spec, study.record)
    assert all(f"{what}_{name}" in page for what, name in (("accuracy", "kind"), ("rmse", "size")))
    assert page.count('alt="what a net saw in it"') > 0
    assert "(Grad-CAM)" in page
    said = ensemble.predict([str(tmp_path / "0.png")])
    assert list(said) == ["name", "kind", "p_kind_bright", "p_kind_dark", "size"]
    export_model(ensemble, study.result.summary, tmp_path / "model", x, y)
    outputs = torch.export.load(tmp_path / "model" / PROGRAM).module()(x[:5])
    torch.testing.assert_close(outputs, ensemble.task.outward(ensemble.predict_by_nets(x[:5])), rtol=1e-4, atol=1e-4)


def test_a_class_and_a_value_are_predicted_of_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = np.random.default_rng(0).normal(50, 10, 60)
    path = write_texts(tmp_path / "texts.csv", reviews(60).assign(size=size))
    study = Study.from_spec(
        parse_spec(own_spec({"kind": "text", "path": str(path), "target": ["label", "size"], "width": 8})),
        tmp_path / "run",
    )
    study.run()

    names = {"accuracy_label", "rmse_size"}
    assert set(study.result.artefact("refit")["test"]) == names
    page = render(study.spec, study.record)
    assert all(name in page for name in names)
    ensemble = study.result.ensemble
    said = ensemble.predict(["It is warm", "It is cold"])
    assert list(said) == ["label", "p_label_bad", "p_label_good", "size"]
    x, y = ensemble.test_data()
    export_model(ensemble, study.result.summary, tmp_path / "model", x, y, to="hub-folder")
    config = json.loads((tmp_path / "model" / CONFIG).read_text())
    kinds = {"label": "classification", "size": "regression"}
    assert (config["kind"], config["targets"], config["names"]) == ("several", kinds, [*ensemble.class_names])
    assert "pipeline_tag" not in (tmp_path / "model" / CARD).read_text()

    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["lab", "predict", str(tmp_path / "run"), "--input", str(path), "--json"])
    with pytest.raises(SystemExit):
        main()
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["targets"], set(answer["scores"])) == ("several", kinds, names)
    assert answer["predictions"]["columns"] == list(said)
    with pytest.raises(StudyError, match="distill: predictions have another form than targets"):
        distill(study, tmp_path / "student")
