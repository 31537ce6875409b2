"""A pruner that forecasts final scores: an Optuna pruner that understands what an early score means.

A run cut in the middle of its schedule is not a short run: at a high learning rate it looks bad until the rate is
annealed, and where labels are wrong what learns fastest ends worst. So early scores are not compared with each other.
A forest learns from the trials that have ended how hyperparameters and the curve so far lead to the final score, and
a trial goes on while that forecast is good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from lab.response.encode import Encoding
from lab.response.forest import Forest
from lab.search.history import inside, sign_of

Floats = NDArray[np.float64]

_TREES = 60


def rungs(epochs: int, first: int = 1, factor: int = 3) -> tuple[int, ...]:
    """The epochs after which a trial of `epochs` may be stopped, rising; none below `first`."""
    rungs = []
    while (epochs := epochs // factor) >= first:
        rungs.append(epochs)
    return tuple(reversed(rungs))


class Forecast:
    """Final costs as a forest expects them of features [n, f] and the costs at the rungs so far [n, r].

    Costs enter by their place among those that are known, so a loss that exploded early is the worst and no more.
    """

    def __init__(self, features: Floats, curves: Floats, final: Floats, seed: int) -> None:
        self._curves = np.sort(curves, axis=0)
        self._final = np.sort(final)
        rows = self._rows(features, curves)
        self._forest = Forest(seed, _TREES).fit(rows, _ranks(self._final, final))
        self._expected = np.sort(self._forest.predict(rows).mean)

    def _rows(self, features: Floats, curves: Floats) -> Floats:
        ranks = [_ranks(column, now) for column, now in zip(self._curves.T, curves.T, strict=True)]
        return np.asarray(np.column_stack([features, *ranks]))

    def expected(self, features: Floats, curves: Floats) -> Floats:
        """Expected place of the final cost among the known ones, 0 the best and 1 the worst; [m]."""
        return self._forest.predict(self._rows(features, curves)).mean

    def promising(self, features: Floats, curves: Floats, share: float) -> NDArray[np.bool_]:
        """Whether the forecast is as good as those of the best `share` of the known trials; [m]."""
        last = max(round(share * len(self._expected)), 1) - 1
        return np.asarray(self.expected(features, curves) <= self._expected[last])


def _ranks(ordered: Floats, values: Floats) -> Floats:
    """Where values [m] stand among ordered ones [n] that are sorted, 0 to 1."""
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((left + right) / (2 * len(ordered)))


class ForestPruner(BasePruner):
    """Stops a trial at a rung where a forest expects its final score to be among the worse ones.

    Its state is the storage: a decision depends on the seed and the history alone. As in all of Optuna, a step is an
    epoch, counted from 1.

    Args:
        epochs: of a whole trial; rungs are at a `factor`-th of it, a `factor`-th of that, and so on.
        first: no trial is stopped before so many epochs.
        factor: see `epochs`.
        startup: trials that have to be complete before any is stopped.
        share: which part of the complete trials a forecast has to keep up with.
        seed: same seed, same history, same decision.

    Raises:
        ValueError: an impossible value, or no rung before a trial's end.

    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> def loss(trial):
    ...     x = trial.suggest_float("x", 0, 1)
    ...     for epoch in range(1, 10):
    ...         trial.report(x + 1 / epoch, epoch)
    ...         if trial.should_prune():
    ...             raise optuna.TrialPruned
    ...     return x
    >>> sampler = optuna.samplers.RandomSampler(seed=0)
    >>> study = optuna.create_study(sampler=sampler, pruner=lab.search.ForestPruner(epochs=9))
    >>> study.optimize(loss, n_trials=20)
    >>> len(study.get_trials(states=[optuna.trial.TrialState.PRUNED])) > 0
    True
    """

    def __init__(
        self, epochs: int, first: int = 1, factor: int = 3, startup: int = 8, share: float = 0.5, seed: int = 0
    ) -> None:
        for name, value, least in (
            ("epochs", epochs, 1),
            ("first", first, 1),
            ("factor", factor, 2),
            ("startup", startup, 2),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} {value!r} is not a whole number of at least {least}")
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            raise ValueError(f"share {share!r} is not between 0 and 1")
        self._rungs = rungs(epochs, first, factor)
        if not self._rungs:
            raise ValueError(f"first {first} is above {epochs // factor}: {epochs} epochs over factor {factor}")
        self._startup, self._share, self._seed = startup, share, seed
        self._cached: _Cached | None = None

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step not in self._rungs:
            return False
        passed = self._rungs[: self._rungs.index(step) + 1]
        if not all(rung in trial.intermediate_values for rung in passed):
            return False
        whole = [
            t
            for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if all(rung in t.intermediate_values for rung in passed)
        ]
        if len(whole) < self._startup:
            return False
        lesson = self._learn(whole, passed, sign_of(study.direction))
        if lesson is None or not inside(trial, lesson.encoding):
            return False
        features = lesson.encoding.features(lesson.encoding.units([trial.params]))
        curve = _curves([trial], passed, sign_of(study.direction))
        return not bool(lesson.forecast.promising(features, curve, self._share)[0])

    def _learn(self, whole: Sequence[FrozenTrial], passed: tuple[int, ...], sign: float) -> _Cached | None:
        """A forecast from the trials that are complete; trials that reach a rung together share it."""
        # By what they scored, too: another study's trials have the same numbers.
        key = (passed, tuple((t.number, sign * (t.value or 0.0)) for t in whole))
        if self._cached is not None and self._cached.key == key:
            return self._cached
        space: dict[str, BaseDistribution] = {}
        for t in whole:
            space |= {name: dist for name, dist in t.distributions.items() if not dist.single()}
        encoding = Encoding(space)
        fitting = [t for t in whole if inside(t, encoding)]
        if not space or len(fitting) < self._startup:
            return None
        final = np.array([sign * t.value if t.value is not None else math.inf for t in fitting])
        features = encoding.features(encoding.units([t.params for t in fitting]))
        forecast = Forecast(features, _curves(fitting, passed, sign), final, self._seed)
        self._cached = _Cached(key, encoding, forecast)
        return self._cached


class _Cached(NamedTuple):
    """A forecast, and the history it follows from."""

    key: tuple[tuple[int, ...], tuple[tuple[int, float], ...]]
    encoding: Encoding
    forecast: Forecast


def _curves(trials: Sequence[FrozenTrial], passed: Sequence[int], sign: float) -> Floats:
    """Costs at the rungs, [n, r]; infinite where a score is none."""
    rows = [[sign * t.intermediate_values[rung] for rung in passed] for t in trials]
    return np.nan_to_num(np.array(rows, dtype=np.float64), nan=math.inf, posinf=math.inf)
