"""Whole small studies on a user's own files, from the command line's point of view."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.cli.main import main
from lab.errors import RecordError, TaskError
from lab.record.folder import read_json, write_json
from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.tasks.load import load_task
from lab.tasks.metrics import Decided
from lab.tasks.task import micro_f1
from tests.cli.test_bad_input import refuse
from tests.own_data import pixels, table, write_folders, write_table
from tests.own_studies import own_spec, own_study
from tests.small import write_yaml
from tests.unmarked import unmarked


def _predict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path, path: Path
) -> tuple[pd.DataFrame, list[str]]:
    """What `lab predict` prints, and the lines it says beside it."""
    monkeypatch.setattr("sys.argv", ["lab", "predict", str(folder), "--input", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    assert not ended.value.code, captured.err
    return pd.read_csv(io.StringIO(captured.out)), captured.err.splitlines()


def _scores(line: str) -> dict[str, float]:
    """`PATH: name value, name value on N examples` as numbers."""
    scores = line.rpartition(": ")[2].rpartition(" on ")[0]
    return {name: float(value) for name, value in (part.split() for part in scores.split(", "))}


def _reported(study: Study) -> dict[str, float]:
    """The scores of what is handed out."""
    scores: dict[str, float] = read_json(study.record.folder / "refit.json")["test"]
    return scores


class TestClassesOfATable:
    """One study, looked at from all sides."""

    def test_predicting_the_test_rows_gives_the_reported_score_again(
        self,
        table_study: Study,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ):
        task = table_study.spec.task
        from lab.tasks.table.task import Table

        rows = Table(**task.options).rows_of("test")
        source = Path(task.options["path"])
        kept = source.read_bytes()
        source.unlink()  # predictions need no training data
        try:
            predicted, said = _predict(
                capsys, monkeypatch, table_study.record.folder, write_table(tmp_path / "test.csv", rows)
            )
        finally:
            source.write_bytes(kept)
        assert _scores(said[-1]) == pytest.approx(_reported(table_study), rel=1e-4, abs=1e-6)
        assert list(predicted.columns) == ["class", "p_no", "p_yes"]
        assert (predicted["class"] == np.where(predicted["p_yes"] > predicted["p_no"], "yes", "no")).all()
        np.testing.assert_allclose(predicted["p_no"] + predicted["p_yes"], 1, rtol=1e-5)
        assert (predicted["class"].to_numpy() == rows["answer"]).mean() == pytest.approx(
            _reported(table_study)["accuracy"]
        )

    def test_unseen_categories_and_missing_columns_are_predicted_and_told(
        self,
        table_study: Study,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ):
        new = table(6, seed=2).drop(columns=["number", "answer"]).assign(letter=["x", "q", "r", None, "y", "z"])
        predicted, said = _predict(
            capsys, monkeypatch, table_study.record.folder, write_table(tmp_path / "new.csv", new)
        )
        assert len(predicted) == 6
        assert predicted.notna().all(axis=None)
        assert f"{tmp_path}/new.csv: column 'number' is not in the table; it is treated as missing in every row" in said
        assert any("column 'letter': 2 rows hold values not seen in training (such as 'q')" in line for line in said)

    def test_what_was_learned_is_kept_as_json(self, table_study: Study):
        kept = read_json(table_study.record.task_path)
        assert [column["name"] for column in kept["fitted"]["columns"]] == ["number", "letter", "day"]
        assert "left out empty: is empty" in kept["facts"]
        assert len(kept["warnings"]) >= 1

    def test_the_report_shows_facts_doubts_baselines_and_examples(self, table_study: Study):
        page = unmarked((table_study.record.folder / "report.html").read_text())
        for text in (
            "target answer: classification with 2 classes: no, yes",
            "categories (levels): letter (3)",
            "have the features of a training row: duplicates make scores too good",
            "random forest (scikit-learn)",
            "histogram gradient boosting (scikit-learn)",
            "most wrong",
            "most uncertain",
        ):
            assert text in page, text

    def test_baselines_and_examples_are_those_of_the_test_split(self, table_study: Study):
        ensemble = read_json(table_study.record.folder / "ensemble.json")
        assert [b["name"] for b in ensemble["baselines"]] == [
            "always the commonest class (yes)",
            "logistic regression (scikit-learn)",
            "random forest (scikit-learn)",
            "histogram gradient boosting (scikit-learn)",
        ]
        assert all(0.3 < b["test"]["accuracy"] <= 1 for b in ensemble["baselines"])
        for examples in ensemble["examples"].values():
            assert 0 < len(examples) <= 12
            assert len({example["index"] for example in examples}) == len(examples)
            assert set(examples[0]["shown"]) == {"row of the file", "number", "letter", "day", "answer"}
        wrong = ensemble["examples"]["most wrong"]
        shares = [float(example["true"].split("(")[1].rstrip("%)")) for example in wrong]
        assert shares == sorted(shares)  # the least probability of the true class first
        assert all(example["said"].split(" (")[0] != example["true"].split(" (")[0] for example in wrong)

    def test_the_same_study_again_does_nothing_and_other_data_are_refused(self, table_study: Study, tmp_path: Path):
        folder = tmp_path / "run"
        shutil.copytree(table_study.record.folder, folder)
        (folder / "ensemble.json").unlink()
        Study.open(folder).run()
        assert _reported(Study.open(folder)) == pytest.approx(_reported(table_study))
        source = Path(table_study.spec.task.options["path"])
        kept = source.read_bytes()
        source.unlink()
        try:
            Study.open(folder).run()  # complete, so that nothing is read
            (folder / "ensemble.json").unlink()
            source.write_bytes(kept.replace(b",x,", b",y,", 1))
            with pytest.raises(RecordError, match=r"task\.json: the data are not those that the study began with"):
                Study.open(folder).run()
        finally:
            source.write_bytes(kept)
        assert not (folder / "ensemble.json").exists()


def test_regression_by_time(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(3)
    frame = table(160).assign(load=lambda f: 100 * f["number"] + 20 * (f["letter"] == "x") + random.normal(size=160))
    frame = frame.drop(columns="answer").sample(frac=1, random_state=0, ignore_index=True)
    path = write_table(tmp_path / "table.tsv", frame)
    task = {"kind": "table", "path": str(path), "target": "load", "split": {"kind": "time", "by": "day"}}
    study = own_study(tmp_path / "run", {**task, "layers": [16]})
    newest = write_table(tmp_path / "newest.parquet", frame.sort_values("day").tail(32))
    predicted, said = _predict(capsys, monkeypatch, study.record.folder, newest)
    assert _scores(said[-1]) == pytest.approx(_reported(study), rel=1e-4)
    assert list(predicted.columns) == ["load"]
    span = frame["load"].max() - frame["load"].min()
    assert predicted["load"].between(frame["load"].min() - 0.1 * span, frame["load"].max() + 0.1 * span).all()
    ensemble = read_json(tmp_path / "run" / "ensemble.json")
    assert set(ensemble["examples"]) == {"most wrong"}
    assert all(set(b["test"]) == {"rmse"} for b in ensemble["baselines"])
    assert "(split: time by day)" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.usefixtures("whole_forests")
def test_a_model_of_another_kind_joins_where_it_surely_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"number": random.uniform(0, 40, 300), "other": random.normal(size=300)})
    frame["saw"] = frame["number"].astype(int) % 2 + 0.05 * random.normal(size=300)  # a few epochs of a net miss it
    path = write_table(tmp_path / "table.csv", frame)
    study = own_study(tmp_path / "run", {"kind": "table", "path": str(path), "target": "saw", "layers": [8]})
    folder = study.record.folder
    chosen, refitted = (read_json(folder / f"{stage}.json") for stage in ("ensemble", "refit"))
    joined = {m["name"]: m["weight"] for m in chosen["chosen"]["members"] if m["name"]}
    assert joined.keys() & {"random forest (scikit-learn)", "histogram gradient boosting (scikit-learn)"}
    assert sum(joined.values()) > 0.5
    assert chosen["chosen"]["valid_loss"] < 0.8 * chosen["chosen"]["start_valid_loss"]
    assert {m["name"]: m["weight"] for m in refitted["members"] if m["name"]} == pytest.approx(joined)
    for stage in ("final", "refit"):
        assert len(list((folder / stage).glob("*.skops"))) == len(joined)
    rows = load_task(study.spec.task).rows_of("test")
    path.unlink()  # what was learned is in the folder
    said = _predict(capsys, monkeypatch, folder, write_table(tmp_path / "test.csv", rows))[1]
    assert _scores(said[-1]) == pytest.approx(_reported(study), rel=1e-4)
    page = unmarked((folder / "report.html").read_text())
    assert all(f"{name} (weight " in page for name in joined)


def test_several_labels_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(3)
    frame = table(160).drop(columns="answer")
    noise = random.random((2, 160)) < 0.05
    frame = frame.assign(up=((frame["number"] > 0) ^ noise[0]) * 1, ex=((frame["letter"] == "x") ^ noise[1]) * 1)
    path = write_table(tmp_path / "table.parquet", frame)
    study = own_study(tmp_path / "run", {"kind": "table", "path": str(path), "target": ["up", "ex"], "layers": [16]})
    predicted, said = _predict(capsys, monkeypatch, study.record.folder, path)
    assert list(predicted.columns) == ["labels", "p_up", "p_ex"]
    assert set(_scores(said[-1])) == {"micro_f1", "nll", "calibration_error"} == set(_reported(study))
    chosen = read_json(study.record.folder / "ensemble.json")["chosen"]
    up, ex = chosen["thresholds"]
    said_of = zip(predicted["labels"].fillna(""), predicted["p_up"], predicted["p_ex"], strict=True)
    for labels, p_up, p_ex in said_of:
        assert labels == " ".join(name for name, p, t in (("up", p_up, up), ("ex", p_ex, ex)) if p > t)


def test_rare_labels_are_said_from_the_threshold_that_validation_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"number": random.normal(size=400)})
    for label in range(8):
        p = 1 / (1 + np.exp(2.5 - (0.6 + 0.1 * label) * frame["number"]))
        frame[f"label{label}"] = (random.random(400) < p) * 1
    path = write_table(tmp_path / "table.parquet", frame)
    names = [f"label{label}" for label in range(8)]
    task = {"kind": "table", "path": str(path), "target": names, "layers": [8], "split": {"seed": 1}}
    study = own_study(tmp_path / "run", task)
    ensembled = read_json(study.record.folder / "ensemble.json")
    assert max(ensembled["chosen"]["thresholds"]) < 0.5
    # With a threshold even a constant scores, which says none of these labels from a half on.
    assert ensembled["baselines"][0]["test"]["micro_f1"] > 0.1
    assert ensembled["baselines"][1]["test"]["micro_f1"] > 0.2
    assert _reported(study)["micro_f1"] > 0.1
    rows = load_task(study.spec.task).rows_of("test")
    said = _predict(capsys, monkeypatch, study.record.folder, write_table(tmp_path / "test.csv", rows))[1]
    assert _scores(said[-1])["micro_f1"] == pytest.approx(_reported(study)["micro_f1"], rel=1e-4)


def test_labels_of_a_study_begun_by_an_earlier_version_are_scored_as_then(tmp_path: Path):
    frame = table(90).assign(up=lambda f: (f["number"] > 0) * 1, ex=lambda f: (f["letter"] == "x") * 1)
    path = write_table(tmp_path / "labels.csv", frame.drop(columns="answer"))
    spec = parse_spec(own_spec({"kind": "table", "path": str(path), "target": ["up", "ex"]}))
    study = Study.from_spec(spec, tmp_path / "run")
    study.run(until="explore")
    assert isinstance(load_task(study.spec.task).metrics["micro_f1"], Decided)
    kept = read_json(study.record.task_path)
    del kept["fitted"]["thresholds"]
    write_json(study.record.task_path, kept)
    study = Study.open(tmp_path / "run")
    study.run(until="confirm")
    assert load_task(study.spec.task).metrics["micro_f1"] is micro_f1
    assert read_json(study.record.task_path) == kept


def test_images_of_class_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    for split, each in (("train", 24), ("valid", 8), ("test", 8)):
        write_folders(tmp_path / "photos" / split, each=each, seed=each + len(split))
    task = {"kind": "images", "path": str(tmp_path / "photos"), "shift": 1, "mixup": 0.1, "label_smoothing": 0.1}
    study = own_study(tmp_path / "run", task)
    assert len(list(study.record.data_folder.glob("images-*.npz"))) == 1
    test = tmp_path / "photos" / "test"
    predicted, said = _predict(capsys, monkeypatch, study.record.folder, test)
    assert _scores(said[-1]) == pytest.approx(_reported(study), rel=1e-4, abs=1e-6)
    assert list(predicted.columns) == ["name", "class", "p_bright", "p_dark"]
    assert predicted["name"][0] == "bright/00.png"
    (test / "dark" / "broken.png").write_bytes(b"no image")
    predicted, said = _predict(capsys, monkeypatch, study.record.folder, test / "dark")
    assert len(predicted) == 8
    assert said == [f"{test}/dark: 1 images cannot be read and are left out: broken.png"]
    np.savez(tmp_path / "new.npz", x=pixels(3))
    assert len(_predict(capsys, monkeypatch, study.record.folder, tmp_path / "new.npz")[0]) == 3
    page = unmarked((tmp_path / "run" / "report.html").read_text())
    for text in ("classes (2): bright, dark", "split: as the folders say", "data:image/png;base64,", "most uncertain"):
        assert text in page, text


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "table", "path": "gone.csv", "target": "answer"}, "gone.csv: does not exist"),
    ({"kind": "table", "path": "table.csv"}, "task.target: is missing: the column to predict, or a list of columns"),
    (
        {"kind": "table", "path": "table.csv", "target": "anwser"},
        "task.target: there is no column 'anwser' (did you mean 'answer'?); columns: number, letter, ",
    ),
    ({"kind": "table", "path": "table.csv", "target": "answer"}, "target 'answer' leaks: 'reply' says it exactly"),
    ({"kind": "table", "path": "table.csv", "target": "answer", "bins": -1}, "task.bins: -1 is not a whole number"),
    ({"kind": "table", "path": "table.csv", "target": "answer", "spilt": "time"}, "task.spilt: is unknown (did you"),
    ({"kind": "images", "path": "photos"}, "photos: has one class only ('dark'); two are needed"),
    ({"kind": "images", "path": "empty"}, "empty: is empty; a folder per class is needed, such as empty/cat/1.png"),
    (
        {"kind": "images", "path": "table.csv"},
        "task.image: is missing, and the table has no column image or img; columns: number",
    ),
]


@pytest.mark.parametrize(("task", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_data_end_in_one_line_before_anything_is_trained(
    task: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    write_table(tmp_path / "table.csv", table().assign(reply=lambda f: f["answer"].str.upper()))
    write_folders(tmp_path / "photos", classes=("dark",))
    (tmp_path / "empty").mkdir()
    spec = write_yaml(tmp_path / "study.yaml", own_spec(task))
    assert message in refuse(capsys, monkeypatch, "study", "check", spec)
    assert message in refuse(capsys, monkeypatch, "study", "run", spec, "--dir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_study_that_was_refused_for_its_data_may_be_put_right(tmp_path: Path):
    path = write_table(tmp_path / "table.csv", table().assign(reply=lambda f: f["answer"].str.upper()))
    task = {"kind": "table", "path": str(path), "target": "answer"}
    with pytest.raises(TaskError, match="target 'answer' leaks"):
        Study.from_spec(parse_spec(own_spec(task)), tmp_path / "run").run(until="explore")
    Study.from_spec(parse_spec(own_spec({**task, "ignore": ["reply"]})), tmp_path / "run").run(until="explore")
    assert "left out reply: asked to be ignored" in read_json(tmp_path / "run" / "task.json")["facts"]
