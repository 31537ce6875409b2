"""The task `text`: it keeps the contract, leaves tokens out where asked, and reads later texts as training did."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lab.cli.main import main
from lab.errors import TaskError
from lab.spec.study import parse_spec
from lab.study.model_folder import CARD, export_model
from lab.study.study import Study
from lab.tasks.checks import contract_suite
from lab.tasks.text.options import MODELS
from lab.tasks.text.task import Text
from tests.own_data import reviews, write_texts
from tests.small import small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_texts(tmp_path / "texts.csv")


def _later(path: Path, **options: Any) -> Text:
    """The task as a later process has it, which no longer has the training texts."""
    fitted = json.loads(json.dumps(Text(str(path), **options).fitted()))
    task = Text("/no/longer/there.csv", **options)
    task.restore(fitted)
    return task


@pytest.mark.parametrize("model", MODELS)
def test_it_keeps_the_contract(model: str, path: Path):
    task = Text(str(path), model=model, width=8)
    params = {"dropout": 0.1, "word_dropout": 0.2, "width": 4, "hidden": 3, "layers": 1, "balance": 0.5}
    points = list(contract_suite(task, params))
    assert [f"{point.name}: {point.said}" for point in points if not point.passed] == []
    assert (task.kind, task.metric, task.direction) == ("classification", "accuracy", "maximize")
    assert pickle.loads(pickle.dumps(task)).options == task.options


def test_labels_keep_the_contract_too(tmp_path: Path):
    frame = reviews()
    frame["warm"], frame["dull"] = (frame["text"].str.contains(word) * 1 for word in ("warm", "dull"))
    task = Text(str(write_texts(tmp_path / "t.csv", frame)), target=["warm", "dull"])
    points = list(contract_suite(task, {"dropout": 0.1, "word_dropout": 0.2}))
    assert [f"{point.name}: {point.said}" for point in points if not point.passed] == []
    assert (task.kind, task.metric) == ("multilabel", "micro_f1")


def test_tokens_are_left_out_as_often_as_asked(path: Path):
    task, random = Text(str(path)), np.random.default_rng(0)
    assert task.draw(4, random, {"dropout": 0.1}) is None
    x, y = task.data("train")
    x, y = task.model_input(x)[None], y[None]
    draws = task.draw(x.shape[1], random, {"word_dropout": 0.3})
    assert draws is not None
    fewer, same = task.augment(x, y, torch.from_numpy(draws)[None])
    assert same is y
    assert ((fewer == x) | (fewer == 0)).all()
    left = float((fewer > 0).sum() / (x > 0).sum())
    assert left == pytest.approx(0.7, abs=0.08)
    none = task.draw(x.shape[1], random, {"word_dropout": 0.0})
    assert none is not None
    assert torch.equal(task.augment(x, y, torch.from_numpy(none)[None])[0], x)


def test_rare_classes_may_count_more(path: Path):
    task, random = Text(str(path), balance=1.0), np.random.default_rng(0)
    x, y = task.data("train")
    for params in ({}, {"word_dropout": 0.5}):
        draws = task.draw(len(x), random, params)
        assert draws is not None
        _, weighed = task.augment(task.model_input(x)[None], y[None], torch.from_numpy(draws)[None])
        torch.testing.assert_close(weighed[0].sum(dim=0), torch.full((2,), len(x) / 2))


def test_the_linear_model_counts_words_and_pairs(path: Path):
    task = Text(str(path))
    features = task.features(task.data("train")[0])
    there = (task.data("train")[0] > 0).sum(dim=1)
    assert features.sum() == int((2 * there - 1).sum())
    names = [baseline.name for baseline in task.baselines(0)]
    assert names == ["always the commonest class (bad)", "tf-idf and logistic regression (scikit-learn)"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_later_texts_are_read_as_training_read_them(suffix: str, path: Path, tmp_path: Path):
    task, whole = _later(path), Text(str(path))
    rows = reviews().iloc[whole._corpus.rows["test"]]
    inputs = task.read(write_texts(tmp_path / f"new.{suffix}", rows))
    x, y = whole.data("test")
    assert torch.equal(inputs.x, x)
    assert inputs.y is not None
    assert torch.equal(inputs.y, y)
    unlabelled = task.read(write_texts(tmp_path / "new.csv", rows[["text"]]))
    assert unlabelled.y is None
    assert torch.equal(unlabelled.x, x)
    (tmp_path / "new.txt").write_text("\n".join(rows["text"]))
    assert torch.equal(task.read(tmp_path / "new.txt").x, x)
    (tmp_path / "folder").mkdir()
    for number, text in enumerate(rows["text"]):
        (tmp_path / "folder" / f"{number:02}.txt").write_text(text)
    of_folder = task.read(tmp_path / "folder")
    assert torch.equal(of_folder.x, x)
    assert of_folder.names[:2] == ("00.txt", "01.txt")


def test_what_is_odd_about_later_texts_is_said(path: Path, tmp_path: Path):
    task = _later(path)
    odd = pd.DataFrame({"text": ["", "film " * 50, "漢字"], "label": ["good", "bad", "fair"]})
    inputs = task.read(write_texts(tmp_path / "new.csv", odd))
    assert inputs.notes[:2] == (
        "1 of 3 texts are empty; what is said of them is said of nothing",
        f"1 of 3 texts are cut after {task.fitted()['length']} tokens",
    )
    assert inputs.notes[2].startswith("is not scored: target 'label': class 'fair' is not in the training rows")
    with pytest.raises(TaskError, match=r"other\.csv: has no column 'text'$"):
        task.read(write_texts(tmp_path / "other.csv", pd.DataFrame({"words": ["a"]})))
    (tmp_path / "none.txt").write_text("")
    with pytest.raises(TaskError, match=r"none\.txt: has no lines$"):
        task.read(tmp_path / "none.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(TaskError, match=r"folder: has no \.txt files$"):
        task.read(tmp_path / "folder")


@pytest.mark.slow
def test_a_study_hands_out_what_reads_later_texts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    value = small(
        name="text",
        task={"kind": "text", "path": str(path), "width": 8},
        space={"max_lr": {"low": 0.01, "high": 0.1, "log": True}, "word_dropout": {"low": 0.0, "high": 0.3}},
        batch_size=16,
        search={"trials": 2, "epochs": 2, "sampler": {"kind": "random"}},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        final={"epochs": 8, "seeds": 1, "snapshots": 1},
    )
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run()
    path.unlink()
    capsys.readouterr()
    (tmp_path / "new.txt").write_text("It is great , a film\nIt is awful , a film\n")
    command = ["lab", "predict", str(tmp_path / "run"), "--input", str(tmp_path / "new.txt")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit):
        main()
    predicted = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert predicted.iloc[:, 0].tolist() == ["good", "bad"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "tf-idf" in page
    ensemble = study.result.ensemble
    x = ensemble.read(tmp_path / "new.txt").x
    export_model(ensemble, study.result.summary, tmp_path / "model", x)
    snippet = (tmp_path / "model" / CARD).read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path / "model")
    made: dict[str, Any] = {}
    exec(snippet, made)
    assert torch.equal(made["x"], Text.prepare(ensemble._task, np.array(made["texts"])))  # type: ignore[arg-type]
    torch.testing.assert_close(made["probabilities"], ensemble.predict_by_nets(made["x"]), rtol=1e-5, atol=1e-6)
