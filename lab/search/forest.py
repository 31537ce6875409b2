"""A random-forest search as an Optuna sampler: Sobol start, then expected improvement in a forest.

Its state is the storage: the proposal depends on (seed, trial number, history) alone, so a resumed study goes on
exactly as an uninterrupted one. Method: sequential model-based optimisation with forests (Hutter et al. 2011, SMAC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm, qmc, rankdata

from lab.surrogate.encode import Encoding
from lab.surrogate.forest import Forest

Floats = NDArray[np.float64]

_LOCAL_STEPS = (0.15, 0.05, 0.015)
"""Widths of the local search around the best trials, in the unit cube."""


class ForestSampler(BaseSampler):
    """Proposes where a forest expects the largest improvement.

    Args:
        seed: same seed, same history, same proposal.
        startup: trials taken from a Sobol sequence before the forest is asked.
        explore_every: every so manieth later trial is a Sobol point too, so no region is ever ruled out.
        space: the whole space, conditional parameters included. None: what the study's trials have in common.
    """

    def __init__(
        self,
        seed: int = 0,
        startup: int = 16,
        explore_every: int = 8,
        space: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        if startup < 0:
            raise ValueError(f"startup {startup!r} is not at least 0")
        if explore_every < 1:
            raise ValueError(f"explore_every {explore_every!r} is not at least 1")
        self._seed = seed
        self._startup = startup
        self._explore_every = explore_every
        self._space = dict(space) if space is not None else None
        self._common = IntersectionSearchSpace(include_pruned=True)
        self._offered: _Offer | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        space = self._space if self._space is not None else self._common.calculate(study)
        return {name: dist for name, dist in space.items() if not dist.single()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        random = RandomSampler(seed=_stream(self._seed, trial.number, *param_name.encode()))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        if len(study.directions) > 1:
            raise ValueError("ForestSampler searches one objective; this study has several")
        encoding = Encoding(search_space)
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        history = [t for t in trials if _teaches(t) and search_space.keys() & t.params.keys()]
        pending = encoding.units([t.params for t in trials if t.state == TrialState.RUNNING and t.params])
        turn = trial.number - self._startup
        if turn < 0 or turn % self._explore_every == self._explore_every - 1 or len(history) < 2:
            point = encoding.snap(_sobol_point(len(encoding), trial.number, self._seed)[None])
            if len(history) < 2 or not (pending == point).all(axis=1).any():
                return encoding.values(point[0])
        units = encoding.units([t.params for t in history])
        cost = _normal_scores(_costs(history, study.direction))
        known = self._offer(encoding, units, cost)
        gain = known.gain * _apart(known.candidates, np.nan_to_num(pending, nan=0.5))
        return encoding.values(known.candidates[int(gain.argmax())])

    def _offer(self, encoding: Encoding, units: Floats, cost: Floats) -> _Offer:
        """What the forest offers for a history; a batch asked at once shares it and differs in what is pending."""
        features = encoding.features(units)
        known = self._offered
        if known is None or not (np.array_equal(known.features, features) and np.array_equal(known.cost, cost)):
            forest = Forest(self._seed).fit(features, cost)
            rng = np.random.default_rng([self._seed, len(cost)])
            candidates = encoding.snap(_candidates(np.nan_to_num(units, nan=0.5), cost, rng))
            best = _incumbent(forest, encoding, units)
            gain = _expected_improvement(forest, encoding.features(candidates), best)
            self._offered = known = _Offer(features, cost, candidates, gain)
        return known


@dataclass(frozen=True)
class _Offer:
    """Candidates [m, d] with their expected improvement [m], and the history they follow from."""

    features: Floats
    cost: Floats
    candidates: Floats
    gain: Floats


def _stream(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _teaches(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.COMPLETE:
        return True
    if trial.state == TrialState.PRUNED:
        return bool(trial.intermediate_values)
    return trial.state == TrialState.FAIL and trial.user_attrs.get("outcome") == "diverged"


def _costs(history: Sequence[FrozenTrial], direction: StudyDirection) -> Floats:
    """To be minimised, [n]; infinite for a diverged trial."""
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    found = []
    for trial in history:
        value = trial.value
        if trial.state == TrialState.PRUNED:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        found.append(np.inf if value is None or not np.isfinite(value) else sign * value)
    return np.array(found)


def _normal_scores(cost: Floats) -> Floats:
    """Ranks to quantiles of a normal: one diverged trial must not flatten all other differences."""
    return np.asarray(norm.ppf((rankdata(cost) - 0.5) / len(cost)))


def _sobol_point(d: int, index: int, seed: int) -> Floats:
    engine = qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed))
    if index:
        engine.fast_forward(index)
    return np.asarray(engine.random(1)[0])


def _candidates(units: Floats, cost: Floats, rng: np.random.Generator, spread: int = 1024, near: int = 96) -> Floats:
    """Points over the whole cube, and steps of several widths from the ten best trials; [n, d]."""
    d = units.shape[1]
    best = units[np.argsort(cost, kind="stable")[:10]]
    parts = [rng.random((spread, d))]
    for width in _LOCAL_STEPS:
        steps = rng.normal(0, width, (near, len(best), d))
        parts.append(np.clip(best[None] + steps, 0, 1).reshape(-1, d))
    return np.concatenate(parts)


def _incumbent(forest: Forest, encoding: Encoding, units: Floats) -> float:
    """The best predicted cost among the trials: a prediction, since the best observed one was also lucky."""
    return float(forest.predict(encoding.features(units)).mean.min())


def _expected_improvement(forest: Forest, features: Floats, best: float) -> Floats:
    mean, std = forest.predict(features)
    std = np.maximum(std, 1e-9)
    z = (best - mean) / std
    return np.asarray((best - mean) * norm.cdf(z) + std * norm.pdf(z))


def _apart(candidates: Floats, pending: Floats, reach: float = 0.15) -> Floats:
    """Factor in [0, 1] that vanishes at trials already running, so a batch spreads out; [n]."""
    factor = np.ones(len(candidates))
    for point in pending:
        distance2 = ((candidates - point) ** 2).sum(axis=1)
        factor *= 1 - np.exp(-distance2 / (2 * reach**2))
    return factor
