"""Probable label errors: planted ones are found by models that did not see them, and the study stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lab.errors import Interrupted, SpecError, StudyError
from lab.record.trials import read_trials
from lab.study import suspects as module
from lab.study.study import Study
from lab.study.suspects import Suspects, folds_for, judged, suspects
from lab.tasks.table.task import Table
from lab.tasks.task import Data, Split, Task
from tests.own_data import table, write_table
from tests.own_studies import own_spec

WRONG = {"train": range(0, 60, 4), "valid": range(3)}
"""Rows whose label is the other one."""


class Signs(Task):
    """Whether two numbers add up to more than nothing; of 240 rows some say the opposite."""

    class_names = ("minus", "plus")

    def data(self, split: Split) -> Data:
        seed, rows = {"train": (0, 200), "valid": (1, 40), "test": (2, 50)}[split]
        x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed))
        total = x.sum(dim=1, keepdim=True)
        x, y = x + total.sign(), (total[:, 0] > 0).long()  # apart, so that which labels are wrong is no matter of taste
        for row in WRONG.get(split, ()):
            y[row] = 1 - y[row]
        return x, y

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        return {"name": f"{split} {index}", "image": "data:image/png;base64,", "given": "as the file has it"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """As far as it has to be."""
    spec = own_spec({"kind": "signs"})
    del spec["task"]
    spec["space"] = {"max_lr": {"low": 0.01, "high": 0.1, "log": True}}
    spec["confirm"] = {"one_cycle": 1, "several": 0, "seeds": 2}
    study = Study(task=Signs(), **spec | {"trials": 2, "epochs": 4}, folder=tmp_path_factory.mktemp("planted") / "run")
    study.run(until="confirm")
    return study


@pytest.fixture(scope="module")
def doubted(study: Study) -> Suspects:
    return suspects(study, folds=3)


def _files(study: Study) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in study.record.folder.rglob("*") if path.is_file()}


def test_planted_errors_come_first(doubted: Suspects) -> None:
    rows, planted = doubted.rows, sum(map(len, WRONG.values()))
    wrong = [index in WRONG[split] for split, index in zip(rows["split"], rows["index"], strict=True)]
    assert len(rows) == 240
    assert np.mean(wrong[:planted]) > 0.9, "chance is .075"
    assert np.mean(np.array(wrong)[rows["suspect"]]) > 0.9
    assert doubted.count == rows["suspect"].sum() > 0.6 * planted
    assert rows["loss"].is_monotonic_decreasing
    np.testing.assert_allclose(rows["loss"], -np.log(rows["p_given"]))
    assert (rows["given"] != rows["predicted"])[rows["suspect"]].all()


def test_what_the_task_shows_of_a_row_stands_beside_it(doubted: Suspects) -> None:
    shown = doubted.shown(7)
    assert list(shown["name"]) == [
        f"{split} {index}" for split, index in zip(shown["split"], shown["index"], strict=True)
    ]
    assert list(shown.columns[-2:]) == ["name", "given (input)"]
    assert len(doubted.shown()) == module.FEWEST


def test_each_row_is_judged_by_models_that_did_not_see_it(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is interrupted behind the training goes on from it, and leaves nothing behind."""
    seen: list[Any] = []

    def stop(task: Task, folds: Any, trained: Any) -> Any:
        seen.append((folds, trained))
        raise Interrupted("stopped")

    before = _files(study)
    monkeypatch.setattr(module, "_out_of_fold", stop)
    with pytest.raises(Interrupted):
        suspects(study, folds=2, seeds=1)
    (work,) = study.record.folder.glob("suspects-*")
    rows = read_trials(module.Record(work), "suspects")
    assert [row.trial.fold for row in rows] == [0, 1]
    folds, trained = seen[0]
    assert [trial.fold for trial, _ in trained] == [0, 1]
    assert set(folds.sizes) == {120}
    held = [set(folds.held_out(fold).tolist()) & set(folds.trained_on(fold).tolist()) for fold in (0, 1)]
    assert held == [set(), set()]
    weights = {path.name: path.stat().st_mtime_ns for path in (work / "weights").iterdir()}
    with pytest.raises(Interrupted):
        suspects(study, folds=2, seeds=1)
    assert {path.name: path.stat().st_mtime_ns for path in (work / "weights").iterdir()} == weights
    monkeypatch.undo()
    assert suspects(study, folds=2, seeds=1).models == 2
    after = _files(study)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {Path(name).name for name in changed} <= {".driver.lock", "live.json"}


class _Said(Task):
    """Targets alone: what models predict is given."""

    def __init__(self, kind: Any, y: torch.Tensor, names: tuple[str, ...] = ()) -> None:
        self.kind, self._y, self.class_names = kind, y, names

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        raise AssertionError

    def data(self, split: Split) -> Data:
        half = len(self._y) // 2
        y = self._y[:half] if split == "train" else self._y[half:]
        return torch.zeros(len(y), 1), y

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).pow(2).reshape(len(target), -1).mean(dim=1)


def test_the_most_doubtful_label_of_an_example_is_named() -> None:
    p = torch.tensor([[0.9, 0.1, 0.2]] * 6 + [[0.1, 0.9, 0.1]] * 6)
    y = (p > 0.5).float()
    y[7, 2] = 1.0
    rows = judged(_Said("multilabel", y, ("sun", "sea", "sky")), p)
    first = rows.iloc[0]
    assert (first["split"], first["index"], first["of"], first["given"], first["predicted"]) == (
        "valid", 1, "sky", "yes", "no",
    )  # fmt: skip
    assert first["p_given"] == pytest.approx(0.1)


def test_values_are_ranked_by_how_far_they_are_off() -> None:
    y = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    prediction = y + 0.1 * torch.randn(80, 2, generator=torch.Generator().manual_seed(1))
    y[50, 1] += 5.0
    rows = judged(_Said("regression", y, ("height", "weight")), prediction)
    first = rows.iloc[0]
    assert (first["split"], first["index"], first["of"], first["suspect"]) == ("valid", 10, "weight", True)
    assert first["deviations"] > 20
    assert rows["suspect"].sum() <= 2
    one = judged(_Said("regression", y[:, :1]), prediction[:, :1])
    assert "of" not in one


def test_parts_of_examples_are_ranked_by_their_mean_loss() -> None:
    p = torch.full((4, 2, 3), 0.1)
    p[:, 0] = 0.9
    y = torch.zeros(4, 3, dtype=torch.int64)
    y[3] = 1
    rows = judged(_Said("classification", y, ("road", "tree")), p)
    assert (rows["split"][0], rows["index"][0], rows["given"][0], rows["predicted"][0]) == (
        "valid", 1, "tree 100%", "road 100%",
    )  # fmt: skip
    assert "suspect" not in rows
    assert Suspects(rows, 2, 2, _Said("classification", y)).count == 0


def test_folds_are_the_tasks_own_or_keep_classes_and_groups_together(tmp_path: Path) -> None:
    own = Signs()
    own.fold_of_rows = lambda: np.repeat([1, 2, 0], [100, 100, 40])  # type: ignore[method-assign]
    assert folds_for(own, 5, 0).sizes == (40, 100, 100)
    folds = folds_for(Signs(), 4, 0)
    y = np.concatenate([Signs().data("train")[1], Signs().data("valid")[1]])
    assert {int(y[folds.held_out(fold)].sum()) - int(y.sum()) // 4 for fold in range(4)} <= {0, 1}
    frame = table(90).assign(shop=[f"s{i % 9}" for i in range(90)])
    options = {"path": str(write_table(tmp_path / "t.csv", frame)), "target": "answer"}
    grouped = Table(**options, split={"kind": "grouped", "by": "shop"})
    folds = folds_for(grouped, 3, 0)
    shops = pd.concat([grouped.rows_of("train"), grouped.rows_of("valid")])["shop"].to_numpy()
    assert all(not set(shops[folds.held_out(f)]) & set(shops[folds.trained_on(f)]) for f in range(3))
    with pytest.raises(SpecError, match=r"^--folds: 9 is above the 7 groups of rows$"):
        folds_for(grouped, 9, 0)


def test_what_cannot_be_is_refused_before_anything_is_trained(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for more, said in (({"folds": 1}, "--folds: 1 is not"), ({"seeds": 0}, "--seeds: 0 is"), ({"folds": 999}, "240")):
        with pytest.raises(SpecError, match=said):
            suspects(study, **more)
    monkeypatch.setattr("lab.stages.job.run_job", lambda spec, record, engine, job: [])
    with pytest.raises(StudyError, match="no trial completed"):
        suspects(study, folds=2)
