"""A task's folds, and what is learned from and judged by where each of them is left out. n rows.

Inputs are what `data` gives, whichever fold is left out: what a task fits to its training rows to make inputs ready
(statistics, levels) it fits once, to those of the training split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lab.errors import TaskError
from lab.spec.folds import Folds
from lab.tasks.task import TRAIN_AND_VALID, Data, Task, joined


def folds_of(task: Task) -> Folds | None:
    """The folds of a task's training and validation rows, where it has any.

    Raises:
        TaskError: they are not such folds.
    """
    fold_of = task.fold_of_rows()
    if fold_of is None:
        return None
    where = f"{type(task).__name__}.fold_of_rows"
    numbers = np.asarray(fold_of)
    train, valid = (len(task.data(split)[0]) for split in TRAIN_AND_VALID)
    if numbers.shape != (train + valid,) or numbers.dtype.kind not in "iu":
        raise TaskError(
            f"{where}: gave {numbers.dtype} {numbers.shape}; must be a whole number for each of {train} training and "
            f"{valid} validation rows"
        )
    count = int(numbers.max()) + 1
    if count < 2 or not np.array_equal(np.unique(numbers), np.arange(count)):
        raise TaskError(f"{where}: gave the folds {np.unique(numbers).tolist()[:9]}; must be 0, 1 and on, two at least")
    if not np.array_equal(numbers == 0, np.arange(train + valid) >= train):
        raise TaskError(f"{where}: fold 0 must be the validation rows, which lie behind the training rows")
    return Folds(tuple(numbers.tolist()))


@dataclass(frozen=True)
class Part:
    """Rows that somebody learns from, and others that judge what was learned: made when they are asked for."""

    task: Task
    folds: Folds | None = None
    """None: the rows are those of the training and of the validation split."""
    fold: int = 0
    """The one that is left out."""

    @property
    def train(self) -> Data:
        return self.task.data("train") if self.folds is None else self._rows(self.folds.trained_on(self.fold))

    @property
    def valid(self) -> Data:
        return self.task.data("valid") if self.folds is None else self._rows(self.folds.held_out(self.fold))

    def _rows(self, numbers: NDArray[np.int64]) -> Data:
        x, y = joined(map(self.task.data, TRAIN_AND_VALID))
        rows = torch.from_numpy(numbers)
        return x[rows], y[rows]


def parts_of(task: Task) -> Mapping[int | None, Part]:
    """By fold what is learned from and judged by where it is left out; under None the two splits, without folds."""
    folds = folds_of(task)
    return {None: Part(task)} if folds is None else {fold: Part(task, folds, fold) for fold in range(folds.count)}
