"""Scores of shorter runs as lessons about full ones: the epoch is one more input of the model.

Without it a pruned trial's last score would be taken for a final one, though every configuration scores worse early.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from lab.search.history import History
from lab.surrogate.encode import Encoding

Floats = NDArray[np.float64]

FIDELITY = "fidelity of the score"
"""A name that no hyperparameter has."""

_MOST_RUNGS = 3


@dataclass(frozen=True)
class Lessons:
    """What a model is fitted to: a row per trial and rung."""

    encoding: Encoding
    units: Floats
    """[rows, d], or [rows, d + 1] where rungs are told apart."""
    cost: Floats
    """[rows]; infinite where training diverged."""

    @property
    def dimensions(self) -> int:
        """d, of the space that is searched."""
        return len(self.encoding) - (FIDELITY in self.encoding.names)

    def at_full(self, units: Floats) -> Floats:
        """Points [m, d] as points of the model, asked for their final score."""
        if self.dimensions == len(self.encoding):
            return units
        return np.concatenate([units, np.ones((len(units), 1))], axis=1)


def lessons(history: History, encoding: Encoding, sign: float) -> Lessons:
    """A row per trial; once trials were pruned, also what the others scored at the epochs where that happened."""
    pruned = [t for t in history.trials if t.state == TrialState.PRUNED]
    if not pruned:
        return Lessons(encoding, history.units, history.cost)
    last = max(max(t.intermediate_values, default=0) for t in history.trials)
    common = Counter(max(t.intermediate_values) for t in pruned).most_common(_MOST_RUNGS)
    rungs = [step for step, _ in common]
    which, units, cost = [], [], []
    for row, trial in enumerate(history.trials):
        for step, value in _scores(trial, history.cost[row], rungs, sign):
            which.append(row)
            units.append(1.0 if step is None else math.log1p(max(step, 0)) / math.log1p(max(last, 1)))
            cost.append(value)
    told = np.concatenate([history.units[which], np.array(units)[:, None]], axis=1)
    wider = Encoding({**encoding.distributions, FIDELITY: FloatDistribution(0, 1)})
    return Lessons(wider, told, np.array(cost))


def _scores(trial: FrozenTrial, cost: float, rungs: list[int], sign: float) -> list[tuple[int | None, float]]:
    """(epoch, cost) of a trial at each rung that it passed, and at its end; the epoch of a full run is None."""
    if trial.state == TrialState.PRUNED:
        return [(max(trial.intermediate_values), cost)]
    found: list[tuple[int | None, float]] = [
        (step, sign * trial.intermediate_values[step])
        for step in rungs
        if math.isfinite(trial.intermediate_values.get(step, math.nan)) and math.isfinite(cost)
    ]
    return [*found, (None, cost)]
