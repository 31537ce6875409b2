"""A random-forest search as an Optuna sampler: Sobol start, then expected improvement in the blended model.

Its state is the storage: the proposal depends on (seed, trial number, history) alone, so a resumed study goes on
exactly as an uninterrupted one. Method: sequential model-based optimisation with forests (Hutter et al. 2011, SMAC),
with a Gaussian process beside the forest for what is smooth.
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

from lab.response.blend import Blend
from lab.response.encode import Conditions, Encoding
from lab.search.acquisition import Acquisition
from lab.search.candidates import among, apart, around, everywhere, sobol_point
from lab.search.fidelity import Lessons, lessons
from lab.search.history import History, even_costs, read_history, sign_of
from lab.search.prior import Prior
from lab.search.threads import on_one_thread
from lab.search.trade_off import traded_off, weights_of

Floats = NDArray[np.float64]

_ANYWHERE, _PER_CENTER, _CENTERS, _ROUNDS = 1024, 64, 10, 3
"""Candidates from the whole space, so that every region has its chance; then steps from the best ones, so often."""

_AGAIN = 1e-6
"""Fraction of its acquisition value that a tried setting keeps: others that promise anything go first."""

_WEIGHTS = 7
"""Name of the stream of numbers that trade-offs are drawn from."""

_FEWEST = 3
"""Trials below which no model is asked for its favourite."""


class ForestSampler(BaseSampler):
    """Proposes where a forest expects the largest improvement.

    Args:
        seed: same seed, same history, same proposal.
        startup: trials taken from a Sobol sequence before the forest is asked. After 10 it finds more with 25 trials
            than after 16, and no less with 100 (recorded trainings, 10 seeds).
        explore_every: every `explore_every`-th trial after startup is a Sobol point, so that no region is ever ruled
            out. Where scores are noisy, every other of these trains the favourite once more instead.
        space: the whole space, conditional parameters included. None: what the study's trials have in common.
        when: of the space's conditional parameters, at which values of others they exist, `{name: {other: values}}`.
        prior: where the best values are thought to lie, `{name: {center: value, spread: share of the range}}`; it
            fades as trials are told.
        observed: finished trials of another study of the same score, as prior observations: the models are fitted to
            them too, and as many fewer trials start from the Sobol sequence.
        costs: numbers above 0 in each trial's user attribute `metrics`, to be kept small beside the score: each
            proposal then has its own trade-off, see `lab.search.trade_off`.

    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=lab.search.ForestSampler(seed=0))
    >>> study.optimize(lambda trial: (trial.suggest_float("x", -5, 5) - 2) ** 2, n_trials=16)
    >>> abs(study.best_params["x"] - 2) < 1
    True
    """

    def __init__(
        self,
        seed: int = 0,
        startup: int = 10,
        explore_every: int = 8,
        space: Mapping[str, BaseDistribution] | None = None,
        when: Conditions | None = None,
        prior: Mapping[str, Mapping[str, Any]] | None = None,
        observed: Sequence[FrozenTrial] = (),
        costs: Sequence[str] = (),
    ) -> None:
        for name, value, least in (("seed", seed, 0), ("startup", startup, 0), ("explore_every", explore_every, 1)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} {value!r} is not a whole number of at least {least}")
        self._seed = seed
        self.startup = max(startup - len(observed), 0)
        """Proposals, the first ones, that depend on no trial's result."""
        self._observed = tuple(observed)
        self._costs = tuple(costs)
        self._explore_every = explore_every
        self._space = dict(space) if space is not None else None
        self._when = when
        self._prior = Prior(prior)
        self._common = IntersectionSearchSpace(include_pruned=True)
        self._offered: _Offer | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        space = self._space if self._space is not None else self._common.calculate(study)
        return {name: dist for name, dist in space.items() if not dist.single()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        _refuse_several(study)
        random = RandomSampler(seed=_stream(self._seed, trial.number, *param_name.encode()))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        _refuse_several(study)
        if not search_space:
            return {}
        encoding = Encoding(search_space, self._when)
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        history = read_history([*self._observed, *trials], encoding, study.direction)
        if self._costs:
            weights = weights_of(len(self._costs) + 1, _stream(self._seed, _WEIGHTS, trial.number))
            history = traded_off(history, self._costs, weights)
        round_number, step = divmod(trial.number - self.startup, self._explore_every)
        if len(history) < 2 or round_number < 0:
            point = self._even(encoding, 0, trial.number)
            if len(history) < 2 or not among(point, history.pending)[0]:
                return encoding.values(point[0])
        offer = self._offer(encoding, history, study.direction)
        if step == self._explore_every - 1 and round_number >= 0:
            again = offer.favourite if round_number % 2 == 0 else None
            # Every other one may be the favourite: a sequence of its own for each half leaves neither with gaps.
            point = self._even(encoding, 1 + round_number % 2, round_number // 2) if again is None else again[None]
            if not among(point, history.pending)[0]:
                return encoding.values(point[0])
        gain = offer.gain * apart(offer.candidates, history.pending)
        return encoding.values(offer.candidates[int(gain.argmax())])

    def recommend(self, study: Study) -> FrozenTrial:
        """The trial whose setting the model predicts to be best: the best score observed was also a lucky one.

        Raises:
            ValueError: no trial has completed, or the study has several objectives.
        """
        _refuse_several(study)
        complete = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
        if not complete:
            raise ValueError("no trial has completed, so there is none to recommend")
        space = self._space or IntersectionSearchSpace().calculate(study)
        encoding = Encoding({name: dist for name, dist in space.items() if not dist.single()}, self._when)
        history = read_history(complete, encoding, study.direction)
        whole = ~history.diverged
        if whole.sum() < _FEWEST:
            return study.best_trial
        units, cost = history.units[whole], history.cost[whole]
        mean = Blend(encoding, self._seed).fit(units, even_costs(cost)).predict(units).mean
        return history.trials[int(np.flatnonzero(whole)[mean.argmin()])]

    def _even(self, encoding: Encoding, run: int, index: int) -> Floats:
        """A point [1, d] that continues one of several even runs; with a prior every other one lies where it expects
        the best.

        Each kind takes every point of a Sobol sequence of its own: of every other point of one, the first coordinate
        would stay within half of its range.
        """
        believed = bool(self._prior) and index % 2 == 0
        number = index // 2 if self._prior else index
        seed = _stream(self._seed, run, believed) if run or believed else self._seed
        point = sobol_point(len(encoding), number, seed)[None]
        return encoding.snap(self._prior.points(encoding, point) if believed else point)

    def _offer(self, encoding: Encoding, history: History, direction: StudyDirection) -> _Offer:
        """What the model offers for a history; a batch asked at once shares it and differs in what is pending."""
        taught = lessons(history, encoding, sign_of(direction))
        key = (taught.units.tobytes(), taught.cost.tobytes(), history.failed.tobytes())
        offer = self._offered
        if offer is None or offer.key != key:
            with on_one_thread():
                self._offered = offer = self._search(encoding, history, taught, key)
        return offer

    def _search(self, encoding: Encoding, history: History, taught: Lessons, key: tuple[bytes, ...]) -> _Offer:
        rng = np.random.default_rng([self._seed, len(history)])
        acquisition = Acquisition(self._seed, history, taught, self._prior)
        best_first = np.argsort(acquisition.means, kind="stable")
        centers = history.units[best_first[:_CENTERS]]
        candidates = everywhere(encoding, _ANYWHERE, rng)
        if self._prior:
            candidates[::4] = encoding.snap(self._prior.points(encoding, candidates[::4]))
        gain = acquisition(encoding, candidates, len(history))
        for _ in range(_ROUNDS):
            steps = around(encoding, centers, _PER_CENTER, rng)
            candidates = np.concatenate([candidates, steps])
            gain = np.concatenate([gain, acquisition(encoding, steps, len(history))])
            centers = candidates[np.argsort(-gain, kind="stable")[:_CENTERS]]
        gain[among(candidates, np.concatenate([history.units, history.failed]))] *= _AGAIN
        complete = [i for i in best_first if history.trials[i].state == TrialState.COMPLETE]
        favourite = history.units[complete[0]] if complete and acquisition.noisy else None
        return _Offer(key, candidates, gain, favourite)


@dataclass(frozen=True)
class _Offer:
    """Candidates [m, d] with their worth [m], and the history they follow from."""

    key: tuple[bytes, ...]
    candidates: Floats
    gain: Floats
    favourite: Floats | None
    """The trial [d] that is predicted to be the best, where a second score of it would tell anything."""


def _refuse_several(study: Study) -> None:
    if len(study.directions) > 1:
        raise ValueError("ForestSampler searches one objective; this study has several")


def _stream(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
