"""What columns are worth, against a net whose weights are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lab.errors import RecordError
from lab.record.folder import read_json, write_json
from lab.report.column_importance import called, columns_figure, columns_line
from lab.stages.column_importance import ColumnImportance, ColumnImportances, column_importances
from lab.stages.ensemble import ChosenEnsemble, Member
from lab.study.study import Study
from lab.tasks.folds import parts_of
from lab.tasks.input_columns import InputColumn
from lab.tasks.task import Data, Metric, Split, Task, rmse
from lab.training.snapshots import pack

_ROWS = 300


class Weighing(Task):
    """y = 4 a + b of columns a, its mirrored twin, b, and one that nothing needs, which has two inputs."""

    kind = "regression"
    metric = "rmse"
    direction = "minimize"
    metrics: Mapping[str, Metric] = {"rmse": rmse}
    folds = 0

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        net = nn.Linear(5, 1, bias=False)
        net.weight.data[0] = torch.tensor([2.0, -2.0, 1.0, 0.0, 0.0])
        return net

    def data(self, split: Split) -> Data:
        x = torch.randn(_ROWS, 5, generator=torch.Generator().manual_seed(len(split)))
        x[:, 1] = -x[:, 0]
        return x, (4 * x[:, 0] + x[:, 2])[:, None]

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).pow(2).mean(dim=1)

    def fold_of_rows(self) -> list[int] | None:
        return [*[1 + i % 2 for i in range(_ROWS)], *[0] * _ROWS] if self.folds else None

    @property
    def input_columns(self) -> tuple[InputColumn, ...]:
        columns = {"a": (0,), "twin": (1,), "b": (2,), "idle": (3, 4)}
        return tuple(InputColumn(name, inputs, inputs) for name, inputs in columns.items())


def _asked(task: Weighing, folder: Path, folds: tuple[int | None, ...]) -> ColumnImportances:
    members = []
    for fold in folds:
        (folder / f"{fold}.safetensors").write_bytes(pack(dict(task.model({}).state_dict()), {}))
        members.append(Member(f"{fold}.safetensors", {}, 1 / len(folds)))
    chosen = ChosenEnsemble(tuple(members), 1.0, 0.0, 1, {})
    fold_of = {member.file: fold for member, fold in zip(members, folds, strict=True)}
    importances = column_importances(task, folder, chosen, fold_of, parts_of(task))
    assert importances is not None
    return importances


@pytest.mark.parametrize("folds", [(None,), (0, 1, 2)])
def test_each_column_costs_what_its_weight_says(tmp_path: Path, folds: tuple[int | None, ...]):
    task = Weighing()
    task.folds = len(folds) - 1
    importances = _asked(task, tmp_path, folds)
    assert importances.score == pytest.approx(0.0, abs=1e-6)
    assert [one.columns for one in importances.columns] == [("a", "twin"), ("b",), ("idle",)]
    # The difference of two draws has twice the variance of one.
    a, _, b = (math.sqrt(2) * float(std) for std in task.data("valid")[0].std(dim=0)[:3])
    assert [one.worse for one in importances.columns[:2]] == pytest.approx([4 * a, b], rel=0.06)
    assert importances.columns[2].worse == pytest.approx(0.0, abs=1e-6)
    assert importances.rows == (_ROWS if folds == (None,) else 2 * _ROWS)
    assert importances.telling == importances.columns[:2]
    assert _asked(task, tmp_path, folds) == importances


def test_a_study_of_a_table_says_it_everywhere(table_study: Study):
    result = table_study.result
    frame = result.column_importances
    assert sorted(name for names in frame["columns"] for name in names) == ["day", "letter", "number"]
    assert list(frame["worse"]) == sorted(frame["worse"], reverse=True)
    assert len(result.plot.columns().data[0].x) == len(frame)
    assert "What columns are worth" in (table_study.record.folder / "report.html").read_text()


def test_a_study_without_columns_says_nothing_of_them(small_study: Study, tmp_path: Path):
    with pytest.raises(RecordError, match=r"ensemble\.json: says nothing of columns"):
        _ = small_study.result.column_importances
    assert "What columns are worth" not in (small_study.record.folder / "report.html").read_text()


def test_an_ensemble_of_an_earlier_version_is_read(table_study: Study, tmp_path: Path):
    from lab.record.folder import Record
    from lab.stages import ensemble

    value = read_json(ensemble.STAGE.path(table_study.record))
    del value["column_importances"]
    record = Record(tmp_path)
    write_json(ensemble.STAGE.path(record), value)
    assert ensemble.STAGE.need(record).column_importances is None


def test_it_is_said_in_words_and_drawn_with_few_letters():
    columns = (
        ColumnImportance(("a" * 60, "b", "c", "d"), 0.25, 0.01),
        ColumnImportance(("e",), 0.02, 0.02),
        ColumnImportance(("f",), -0.01, 0.0),
    )
    importances = ColumnImportances("accuracy", 80, 0.9, columns)
    label = f"{'a' * 37}... with b with c and 1 more"
    assert called(columns[0]) == label
    assert columns_line(importances) == (
        f"Permuted on 80 validation rows, where accuracy is 0.9, the columns that cost most are {label} (0.25). 2 "
        "columns may be worth nothing."
    )
    none = ColumnImportances("accuracy", 80, 0.9, columns[1:])
    assert columns_line(none).startswith("No column is surely worth anything")
    assert list(columns_figure(importances).data[0].y) == ["f", "e", label]
