"""What each of the data's own columns is worth to the models that were chosen: how much worse they are where it is
permuted (Breiman 2001, section 10). n rows, f inputs.

Asked is the ensemble that was chosen, and not what is handed out in the end: that has learned from the validation rows
too. Columns that say the same are permuted together: of two alike, each could stand in for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lab.record.artefact import Measured
from lab.tasks.table.alike import clusters, ranked

if TYPE_CHECKING:
    from torch import Tensor

    from lab.stages.ensemble import ChosenEnsemble
    from lab.tasks.folds import Part
    from lab.tasks.input_columns import InputColumn
    from lab.tasks.task import Task

_REPEATS, _MOST_CALLS = 5, 500
"""Permutations of each cluster of columns, and of all of them together; one of each at least."""
_MOST_ROWS, _FEWEST_ROWS, _MOST_PREDICTED = 2_000, 100, 2**20
"""Rows that are looked at, and how many are predicted by every member in all."""


@dataclass(frozen=True)
class ColumnImportance:
    """What columns are worth that are permuted together."""

    columns: tuple[str, ...]
    """Several where they say the same, by their ranks."""
    worse: Measured
    """By how much the score is worse without them, the mean over permutations; below 0: it is better by chance."""
    std: Measured
    """Standard deviation between permutations; 0 where there was but one."""


@dataclass(frozen=True)
class ColumnImportances:
    """What all columns are worth, the most first."""

    metric: str
    rows: int
    """Validation rows that were predicted; where there are folds, of all of them."""
    score: Measured
    """The metric on these, with no column permuted."""
    columns: tuple[ColumnImportance, ...]

    @property
    def telling(self) -> tuple[ColumnImportance, ...]:
        """Those whose worth is above what permutations differ by."""
        return tuple(one for one in self.columns if one.worse > max(2 * one.std, 0.0))


def column_importances(
    task: Task,
    folder: Path,
    chosen: ChosenEnsemble,
    fold_of: Mapping[str, int | None],
    parts: Mapping[int | None, Part],
) -> ColumnImportances | None:
    """What the columns of a table are worth to a chosen ensemble; None for a task without columns.

    Args:
        folder: of the members' weights.
        fold_of: the fold that each member's file was trained without.
        parts: the rows that are left out, by fold, or under None those of the validation split.
    """
    columns = task.input_columns
    if not columns:
        return None
    asked = [fold for fold in parts if any(fold_of[member.file] == fold for member in chosen.members)]
    most = max(_FEWEST_ROWS, min(_MOST_ROWS, _MOST_PREDICTED // (_REPEATS * len(columns)))) // len(asked)
    random = np.random.default_rng(0)
    judged = [_Judged.of(task, folder, chosen, fold_of, fold, parts[fold], most, random) for fold in asked]
    alike = clusters(_ranks(columns, judged))
    repeats = max(1, min(_REPEATS, _MOST_CALLS // len(alike)))
    sign = 1.0 if task.direction == "maximize" else -1.0
    score = _score(task, chosen, judged, lambda one: one.x)
    importances = []
    for cluster in alike:
        inputs = sorted({i for at in cluster for i in columns[at].inputs})
        worse = [
            sign * (score - _score(task, chosen, judged, lambda one: one.permuted(inputs, random)))  # noqa: B023
            for _ in range(repeats)
        ]
        names = tuple(columns[at].name for at in cluster)
        importances.append(ColumnImportance(names, float(np.mean(worse)), float(np.std(worse))))
    rows = sum(len(one.x) for one in judged)
    return ColumnImportances(task.metric, rows, score, tuple(sorted(importances, key=lambda one: -one.worse)))


@dataclass(frozen=True)
class _Judged:
    """Rows that judge, and those members as one who have not learned from them."""

    x: Tensor
    y: Tensor
    predict: Callable[[Tensor], Tensor]
    prediction: Tensor

    @classmethod
    def of(
        cls,
        task: Task,
        folder: Path,
        chosen: ChosenEnsemble,
        fold_of: Mapping[str, int | None],
        fold: int | None,
        part: Part,
        most: int,
        random: np.random.Generator,
    ) -> _Judged:
        import torch

        from lab.stages.predictor import Ensemble

        x, y = part.valid
        rows = torch.from_numpy(np.sort(random.permutation(len(x))[:most]))
        x, y = x[rows], y[rows]
        members = [member for member in chosen.members if fold_of[member.file] == fold]
        loaded = Ensemble(task, folder, members, chosen.temperature, chosen.thresholds).loaded(x)

        def predict(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                return loaded(inputs).double()

        return cls(x, y, predict, predict(x))

    def permuted(self, inputs: Sequence[int], random: np.random.Generator) -> Tensor:
        """The rows with some of their inputs from other rows, all of them from the same one."""
        import torch

        x, order = self.x.clone(), torch.from_numpy(random.permutation(len(self.x)))
        x[:, inputs] = self.x[order][:, inputs]
        return x


def _score(task: Task, chosen: ChosenEnsemble, judged: Sequence[_Judged], x_of: Callable[[_Judged], Tensor]) -> float:
    """The task's metric of what is predicted for all rows."""
    import torch

    from lab.stages.predicts import as_thresholds
    from lab.training.ensemble import scores

    prediction = torch.cat([one.predict(x_of(one)) for one in judged])
    y = torch.cat([one.y for one in judged])
    if task.kind == "regression":
        prediction = prediction.to(y.dtype)
    thresholds = as_thresholds(chosen.thresholds, prediction)
    metrics = {task.metric: task.metrics[task.metric]}
    return scores(prediction, y, task.kind, metrics, thresholds)[task.metric]


def _ranks(columns: Sequence[InputColumn], judged: Sequence[_Judged]) -> NDArray[np.float64]:
    """The ranks of all rows by each column [n, c]; levels are ordered by what is predicted for them, which puts those
    of a text beside the number that says the same."""
    import torch

    x = torch.cat([one.x for one in judged]).cpu().numpy()
    predicted = torch.cat([one.prediction for one in judged]).flatten(1).cpu().numpy()
    order = predicted[:, int(predicted.var(axis=0).argmax())]
    made = []
    for column in columns:
        _, values = np.unique(x[:, column.by], axis=0, return_inverse=True)
        made.append(ranked(values.reshape(-1).astype(np.float64), order if column.levels else None))
    return np.stack(made, axis=1)
