"""A task's folds are checked, and each part's rows are those that it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lab.errors import TaskError
from lab.tasks.folds import folds_of, parts_of
from lab.tasks.task import Data, Split, Task


class Rows(Task):
    """Six rows to train on and two to validate on, each with its number as its input."""

    def __init__(self, folds: Any) -> None:
        self._folds = folds

    def data(self, split: Split) -> Data:
        first, count = {"train": (0, 6), "valid": (6, 2), "test": (8, 2)}[split]
        x = torch.arange(first, first + count, dtype=torch.float32)
        return x, x.long() % 2

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        raise NotImplementedError

    def fold_of_rows(self) -> Any:
        return self._folds


def test_each_fold_is_held_out_once_and_everything_else_is_trained_on() -> None:
    task = Rows(np.array([1, 2, 3, 1, 2, 3, 0, 0]))
    folds = folds_of(task)
    assert folds is not None
    assert (folds.count, folds.sizes, folds.least_trained_on) == (4, (2, 2, 2, 2), 6)
    assert [folds.of_run(number) for number in range(6)] == [0, 1, 2, 3, 0, 1]
    held_out = {fold: part.valid[0].tolist() for fold, part in parts_of(task).items()}
    assert held_out == {0: [6, 7], 1: [0, 3], 2: [1, 4], 3: [2, 5]}
    for part in parts_of(task).values():
        (x, y), (other, _) = part.train, part.valid
        assert sorted([*x.tolist(), *other.tolist()]) == list(range(8))
        assert torch.equal(y, x.long() % 2)


def test_without_folds_there_is_one_part_the_two_splits() -> None:
    task = Rows(None)
    assert folds_of(task) is None
    assert list(parts_of(task)) == [None]
    part = parts_of(task)[None]
    assert (part.train[0].tolist(), part.valid[0].tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7])


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([1, 2, 0], r"gave int64 \(3,\); must be a whole number for each of 6 training and 2 validation rows"),
        ([1.0, 1, 1, 1, 1, 1, 0, 0], r"gave float64 \(8,\); must be a whole number"),
        ([0] * 8, r"gave the folds \[0\]; must be 0, 1 and on, two at least"),
        ([1, 1, 3, 3, 1, 1, 0, 0], r"gave the folds \[0, 1, 3\]; must be 0, 1 and on"),
        ([-1, 1, 1, 1, 1, 1, 0, 0], r"gave the folds \[-1, 0, 1\]; must be"),
        ([0, 1, 1, 1, 1, 1, 1, 1], "fold 0 must be the validation rows, which lie behind the training rows"),
    ],
)
def test_what_are_no_folds_is_refused(folds: Any, message: str) -> None:
    with pytest.raises(TaskError, match=f"^Rows.fold_of_rows: {message}"):
        folds_of(Rows(folds))
