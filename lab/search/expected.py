"""Settings in the order of the scores expected of them: of many noisy scores the best observed one was also lucky."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lab.response.encode import Conditions, Encoding
from lab.search.acquisition import Acquisition
from lab.search.fidelity import lessons
from lab.search.history import even_costs, read_history, sign_of
from lab.search.prior import Prior
from lab.search.threads import on_one_thread

_FEWEST, _FEWEST_PER_DIMENSION = 24, 4
"""Scores below which nothing is said. After 16 the best observed score was worth more on digits with wrong labels."""


@dataclass(frozen=True)
class Expected:
    """A setting that was tried, and the score that the model of the response predicts for it."""

    params: Mapping[str, Any]
    score: float


def by_expectation(
    trials: Sequence[FrozenTrial],
    space: Mapping[str, BaseDistribution],
    direction: StudyDirection,
    seed: int,
    observed: Sequence[FrozenTrial] = (),
    when: Conditions | None = None,
) -> list[Expected]:
    """The settings of complete trials, the best predicted score first, by (seed, trials) alone; none while too little
    is known to tell. What the first gains over the best observed score: `reports/fidelity`.

    Args:
        observed: another study's trials, which teach the model and are not chosen from.
        when: see `Encoding`.
    """
    encoding = Encoding({name: dist for name, dist in space.items() if not dist.single()}, when)
    history = read_history([*observed, *trials], encoding, direction)
    own = {id(trial) for trial in trials if trial.state == TrialState.COMPLETE}
    choice = [i for i, trial in enumerate(history.trials) if id(trial) in own and np.isfinite(history.cost[i])]
    if not len(encoding) or len(choice) < max(_FEWEST, _FEWEST_PER_DIMENSION * len(encoding)):
        return []
    sign = sign_of(direction)
    with on_one_thread():
        means = Acquisition(seed, history, lessons(history, encoding, sign), Prior(None)).means
    even, order = even_costs(history.cost)[choice], np.argsort(history.cost[choice], kind="stable")
    costs = np.interp(means[choice], even[order], history.cost[choice][order])
    ranked = sorted(zip(means[choice].tolist(), costs.tolist(), choice, strict=True))
    return [Expected(history.trials[i].params, sign * cost) for _, cost, i in ranked]
