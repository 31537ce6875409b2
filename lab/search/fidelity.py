"""Scores of shorter runs as lessons about full ones: the epoch is one more input of the model.

Without it a pruned trial's last score would be taken for a final one, though every configuration scores worse early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from lab.response.encode import Encoding
from lab.response.rungs import of_full_run, rows_of
from lab.search.history import History

Floats = NDArray[np.float64]

FIDELITY = "fidelity of the score"
"""A name that no hyperparameter has."""


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
        return units if self.dimensions == len(self.encoding) else of_full_run(units)


def lessons(history: History, encoding: Encoding, sign: float) -> Lessons:
    """A row per trial; once trials were pruned, also what the others scored at the epochs where that happened."""
    cut = [trial.state == TrialState.PRUNED for trial in history.trials]
    if not any(cut):
        return Lessons(encoding, history.units, history.cost)
    curves = [_curve(trial, cost, sign) for trial, cost in zip(history.trials, history.cost.tolist(), strict=True)]
    rows = rows_of(curves, history.cost.tolist(), cut)
    wider = Encoding({**encoding.distributions, FIDELITY: FloatDistribution(0, 1)}, encoding.when)
    return Lessons(wider, rows.features(history.units), rows.target)


def _curve(trial: FrozenTrial, cost: float, sign: float) -> dict[int, float]:
    """Epoch to cost; of a trial that went to infinity no more than its end."""
    if math.isfinite(cost):
        return {step: sign * value for step, value in trial.intermediate_values.items()}
    return {max(trial.intermediate_values): cost} if trial.state == TrialState.PRUNED else {}
