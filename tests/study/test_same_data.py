"""A study goes on with the data that it began with alone, whatever they are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lab.errors import RecordError
from lab.record.folder import Record, read_json, write_json
from lab.spec.study import parse_spec
from lab.stages.predictor import task_that_learned
from lab.study.same_data import require_same
from lab.study.study import Study
from tests.own_data import table, write_folders, write_table

SPACE = {"max_lr": {"low": 1e-3, "high": 0.1, "log": True}}
OWN = """
import torch, lab

class Own(lab.Task):
    kind = "classification"
    class_names = ("cat", "dog")

    def model(self, params):
        return torch.nn.Linear(3, 2)

    def data(self, split):
        x = torch.randn(60, 3, generator=torch.Generator().manual_seed(len(split)))
        return x, (x[:, 0] > 0).long()
"""


def _begun(task: dict[str, Any], folder: Path) -> Study:
    search = {"trials": 1, "epochs": 1}
    execution = {"engine": "local", "lanes": 1, "width": 1, "path": "sequential"}
    value = {"name": "s", "task": task, "space": SPACE, "batch_size": 16, "search": search, "execution": execution}
    study = Study.from_spec(parse_spec(value), folder)
    study.run(until="explore", quiet=True)
    return study


def _tables(change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> pd.DataFrame:
    return change(table().drop(columns="day"))


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "classes": (lambda f: f.assign(answer=f.answer.map({"no": "bad", "yes": "good"})), "class 'no' is 'bad' now"),
    "a column": (lambda f: f.rename(columns={"number": "size"}), "column 'number' is 'size' now"),
    "a column more": (lambda f: f.assign(other=[i % 7 for i in range(len(f))]), "column 'other' is new"),
    "a column less": (lambda f: f.drop(columns="number"), "column 'number' is gone"),
    "values": (lambda f: f.assign(letter=f.letter.str.upper()), "value of letter 'x' is 'X' now"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_table_that_is_called_otherwise_is_another(what: str, tmp_path: Path) -> None:
    change, message = CHANGES[what]
    path = write_table(tmp_path / "t.csv", _tables())
    study = _begun({"kind": "table", "path": str(path), "target": "answer"}, tmp_path / "run")
    write_table(path, _tables(change))
    with pytest.raises(RecordError, match=f"not those that the study began with: {message}; restore them"):
        Study.open(study.record.folder).run(until="confirm", quiet=True)
    with pytest.raises(RecordError, match=message):  # as what trains aside asks
        require_same(task_that_learned(Study.open(study.record.folder).spec.task, study.record), study.record)
    write_table(path, _tables())
    Study.open(study.record.folder).run(until="confirm", quiet=True)


def test_classes_of_texts_that_are_called_otherwise_are_others(tmp_path: Path) -> None:
    rows = pd.DataFrame({"text": ["a good film", "a bad film"] * 40, "label": ["u", "v"] * 40})
    path = tmp_path / "x.csv"
    rows.to_csv(path, index=False)
    study = _begun({"kind": "text", "path": str(path)}, tmp_path / "run")
    rows.assign(label=rows.label.map({"u": "no", "v": "yes"})).to_csv(path, index=False)
    with pytest.raises(RecordError, match="class 'u' is 'no' now"):
        Study.open(study.record.folder).run(until="confirm", quiet=True)


def test_class_folders_of_images_that_are_called_otherwise_are_others(tmp_path: Path) -> None:
    photos = write_folders(tmp_path / "photos", each=24)
    study = _begun({"kind": "images", "path": str(photos)}, tmp_path / "run")
    (photos / "bright").rename(photos / "alight")
    with pytest.raises(RecordError, match="class 'bright' is 'alight' now"):
        Study.open(study.record.folder).run(until="confirm", quiet=True)


def test_classes_of_a_users_task_that_are_called_otherwise_are_others(tmp_path: Path) -> None:
    folders = []
    for name, names in (("before", OWN), ("after", OWN.replace('"cat", "dog"', '"dog", "cat"'))):
        file = tmp_path / f"{name}.py"
        file.write_text(names)
        folders.append(_begun({"kind": f"{file}:Own"}, tmp_path / name).record)
    before, after = folders
    assert before.task()["data"] == after.task()["data"]  # type: ignore[index]
    changed = Study.open(after.folder)
    after.task_path.write_text(before.task_path.read_text())
    with pytest.raises(RecordError, match="class 'cat' is 'dog' now"):
        changed.run(until="confirm", quiet=True)


def _without_names(record: Record) -> None:
    """As an earlier version has left it."""
    kept = read_json(record.task_path)
    del kept["names"]
    write_json(record.task_path, kept)


def test_a_study_of_an_earlier_version_goes_on_and_still_knows_its_classes(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", _tables())
    study = _begun({"kind": "table", "path": str(path), "target": "answer"}, tmp_path / "run")
    _without_names(study.record)
    write_table(path, _tables(CHANGES["classes"][0]))
    with pytest.raises(RecordError, match="class 'no' is 'bad' now"):
        Study.open(study.record.folder).run(until="confirm", quiet=True)
    write_table(path, _tables())
    Study.open(study.record.folder).run(until="confirm", quiet=True)


@pytest.mark.parametrize("harm", [3, {"class": "no"}, {"class": [1, 2]}, ["no"]])
def test_names_that_are_damaged_are_refused(harm: Any, tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", _tables())
    study = _begun({"kind": "table", "path": str(path), "target": "answer"}, tmp_path / "run")
    kept = read_json(study.record.task_path)
    study.record.task_path.write_text(json.dumps(kept | {"names": harm}))
    with pytest.raises(RecordError, match=r"task\.json: names: .* is no mapping to lists of names; restore it"):
        Study.open(study.record.folder).run(until="confirm", quiet=True)
