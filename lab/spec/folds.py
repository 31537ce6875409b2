"""Folds of a study's training and validation rows: each is left out in turn, and judges who was trained without it.

Shapes: n rows, those of the training split first and those of the validation split behind them; k folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Folds:
    """The fold of each row.

    Example:
        >>> folds = Folds((1, 2, 1, 0))
        >>> folds.count, folds.of_run(4), folds.held_out(1).tolist(), folds.trained_on(1).tolist()
        (3, 1, [0, 2], [1, 3])
    """

    fold_of: tuple[int, ...]
    """[n], from 0 to k - 1; fold 0 is the validation split."""

    @property
    def count(self) -> int:
        return max(self.fold_of) + 1

    def of_run(self, number: int) -> int:
        """The fold that a run leaves out, by its number among the runs of a setup: they take turns."""
        return number % self.count

    def held_out(self, fold: int) -> NDArray[np.int64]:
        """The rows of a fold, ascending."""
        return np.flatnonzero(np.asarray(self.fold_of) == fold)

    def trained_on(self, fold: int) -> NDArray[np.int64]:
        """All other rows, ascending."""
        return np.flatnonzero(np.asarray(self.fold_of) != fold)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each fold, [k]."""
        return tuple(np.bincount(self.fold_of).tolist())

    @property
    def least_trained_on(self) -> int:
        """Rows that are left where the largest fold is left out."""
        return len(self.fold_of) - max(self.sizes)
