"""What a sampler learns from an Optuna study: settings, costs, and where training diverged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lab.response.encode import Encoding
from lab.spec.outcomes import OUTCOME
from lab.spec.trial import Outcome

Floats = NDArray[np.float64]

_FAR = 10.0
"""How far the worst tenth may lie behind the median, in units of the best one's lead, before it is just bad."""

_HUGE = 1e100
"""Costs from which on their squares would overflow."""


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
    failed: Floats
    """Settings at which a trial ended without a score and without having diverged, [k, d]."""

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def diverged(self) -> NDArray[np.bool_]:
        return np.isinf(self.cost)


def read_history(trials: Sequence[FrozenTrial], encoding: Encoding, direction: StudyDirection) -> History:
    """The history of a study of one objective."""
    names = set(encoding.names)
    teaching = tuple(t for t in trials if _teaches(t) and names & t.params.keys() and inside(t, encoding))

    def units(wanted: Callable[[FrozenTrial], bool]) -> Floats:
        return encoding.units(
            [t.params for t in trials if wanted(t) and names & t.params.keys() and inside(t, encoding)]
        )

    sign = sign_of(direction)
    cost = np.array([_cost(trial, sign) for trial in teaching], dtype=np.float64)
    return History(
        trials=teaching,
        units=encoding.units([t.params for t in teaching]),
        cost=cost,
        pending=units(lambda t: t.state == TrialState.RUNNING),
        failed=units(_failed),
    )


def sign_of(direction: StudyDirection) -> float:
    """What turns a score into a cost."""
    return -1.0 if direction == StudyDirection.MAXIMIZE else 1.0


def even_costs(cost: Floats) -> Floats:
    """Costs [n] on a scale on which they look normal, with a standard deviation of 1; diverged ones as the worst.

    By a power (Box and Cox 1964; Yeo and Johnson 2000), so losses that span decades are told apart as well as
    accuracies near their best. Not by ranks: those spread a cluster of near-equal trials until it looks like noise.
    """
    finite = np.isfinite(cost)
    largest = float(np.abs(cost[finite]).max(initial=0.0))
    if largest > _HUGE:
        cost = cost / largest
    if finite.sum() < 2 or np.ptp(cost[finite]) == 0:
        return np.where(finite, -1.0, 1.0) * (0.0 if finite.all() else 1.0)
    finite_cost = cost[finite]
    low, middle = (float(q) for q in np.quantile(finite_cost, [0, 0.5]))
    near = without_far(finite_cost)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = near / middle
    if low > 0 and ratio.min() > 0 and np.isfinite(ratio).all():  # the smallest numbers there are become 0
        shaped = _box_cox(ratio)
    else:
        width = float(near.std()) or float(np.ptp(near))  # squares of very small differences vanish
        shaped = _yeo_johnson((near - middle) / width)
    evened = np.full(len(cost), shaped.max())
    evened[finite] = shaped
    spread = float(evened.std())
    return np.asarray((evened - evened.mean()) / spread if spread > 0 else evened - evened.mean())


def without_far(cost: Floats) -> Floats:
    """Finite costs [n], of which those far behind the others are brought to where costs count as just bad."""
    low, middle, worse = (float(q) for q in np.quantile(cost, [0, 0.5, 0.9]))
    near = np.minimum(cost, max(middle + _FAR * (middle - low), worse))
    return near if np.ptp(near) > 0 else cost


_POWERS = np.linspace(-2, 2, 33)[:, None]
"""Those that are tried: scipy's search for the best gives up on values that hardly differ."""


def _box_cox(values: Floats) -> Floats:
    """Values [n] above 0 to the power at which they look most normal."""
    return _most_normal(values, lambda: scipy.special.boxcox(values, _POWERS), np.log(values))


def _yeo_johnson(values: Floats) -> Floats:
    """The same for values [n] of either sign."""
    size, sign = np.abs(values), np.sign(values)
    powers = np.where(values < 0, 2 - _POWERS, _POWERS)
    return _most_normal(values, lambda: sign * scipy.special.boxcox1p(size, powers), sign * np.log1p(size))


def _most_normal(values: Floats, shaped: Callable[[], Floats], log_slope: Floats) -> Floats:
    """Values [n] to the power at which they are likeliest to be normal; as they are where no power leaves numbers that
    differ.

    Args:
        shaped: the values to each power, [powers, n].
        log_slope: the logarithm of the slope at the power 2, [n].
    """
    with np.errstate(all="ignore"):
        rows = shaped()
        likelihoods = (_POWERS[:, 0] - 1) * log_slope.sum() - len(values) / 2 * np.log(rows.var(axis=1))
    best = rows[np.nan_to_num(likelihoods, nan=-np.inf, posinf=-np.inf).argmax()]
    return best if np.isfinite(best).all() and np.ptp(best) > 0 else values


def _failed(trial: FrozenTrial) -> bool:
    """Whether the setting is to blame, as far as is known: one that was preempted runs again."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get(OUTCOME) not in (Outcome.DIVERGED, Outcome.PREEMPTED)


def _teaches(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.COMPLETE:
        return True
    if trial.state == TrialState.PRUNED:
        return bool(trial.intermediate_values)
    return trial.state == TrialState.FAIL and trial.user_attrs.get(OUTCOME) == Outcome.DIVERGED


def inside(trial: FrozenTrial, encoding: Encoding) -> bool:
    """Whether a trial is a point of the space: one from another, or from before it was narrowed, cannot be placed."""
    for name, dist in encoding.distributions.items():
        value = trial.params.get(name)
        if value is None:
            continue
        if isinstance(dist, CategoricalDistribution):
            if value not in dist.choices:
                return False
        elif not dist.low <= value <= dist.high:  # type: ignore[attr-defined]
            return False
    return True


def _cost(trial: FrozenTrial, sign: float) -> float:
    value = trial.value
    if trial.state == TrialState.PRUNED:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    return np.inf if value is None or not np.isfinite(value) else sign * value
