"""What a sampler learns from an Optuna study: settings, costs, and where training diverged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm, rankdata

from lab.surrogate.encode import Encoding

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """Trials that teach, in the order of their numbers, and those that are still running."""

    trials: tuple[FrozenTrial, ...]
    units: Floats
    """[n, d]; NaN where a trial lacks the parameter."""
    cost: Floats
    """To be minimised, [n]; infinite for a diverged trial."""
    pending: Floats
    """[p, d]"""

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def diverged(self) -> NDArray[np.bool_]:
        return np.isinf(self.cost)


def read_history(trials: Sequence[FrozenTrial], encoding: Encoding, direction: StudyDirection) -> History:
    """The history of a study of one objective."""
    names = set(encoding.names)
    teaching = tuple(t for t in trials if _teaches(t) and names & t.params.keys())
    running = [t.params for t in trials if t.state == TrialState.RUNNING and names & t.params.keys()]
    sign = sign_of(direction)
    cost = np.array([_cost(trial, sign) for trial in teaching], dtype=np.float64)
    return History(teaching, encoding.units([t.params for t in teaching]), cost, encoding.units(running))


def sign_of(direction: StudyDirection) -> float:
    """What turns a score into a cost."""
    return -1.0 if direction == StudyDirection.MAXIMIZE else 1.0


def normal_scores(cost: Floats) -> Floats:
    """Ranks to quantiles of a normal: one diverged trial must not flatten all other differences."""
    return np.asarray(norm.ppf((rankdata(cost) - 0.5) / len(cost)))


def _teaches(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.COMPLETE:
        return True
    if trial.state == TrialState.PRUNED:
        return bool(trial.intermediate_values)
    return trial.state == TrialState.FAIL and trial.user_attrs.get("outcome") == "diverged"


def _cost(trial: FrozenTrial, sign: float) -> float:
    value = trial.value
    if trial.state == TrialState.PRUNED:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    return np.inf if value is None or not np.isfinite(value) else sign * value
