"""The settings that are as good as the best, as far as the noise between seeds lets one tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lab.response.encode import Conditions, Encoding
from lab.response.findings import Region
from lab.response.region import region_of
from lab.search.acquisition import Acquisition
from lab.search.fidelity import lessons
from lab.search.history import even_costs, read_history, sign_of
from lab.search.prior import Prior
from lab.search.threads import on_one_thread

Floats = NDArray[np.float64]

_FEWEST = 8
"""Scores below which nothing is said."""


def as_good_as_the_best(
    trials: Sequence[FrozenTrial],
    space: Mapping[str, BaseDistribution],
    direction: StudyDirection,
    seed: int,
    when: Conditions | None = None,
) -> Region | None:
    """The region after these trials, by (seed, trials) alone; None while too little is known to tell.

    A setting counts as good where its score, as the forest and the Gaussian process predict it, lies no further from
    the best than one standard deviation of a score between seeds, and where it is not likely to diverge.

    Args:
        when: see `Encoding`.
    """
    encoding = Encoding({name: dist for name, dist in space.items() if not dist.single()}, when)
    history = read_history(trials, encoding, direction)
    well = ~history.diverged
    if well.sum() < _FEWEST or not len(encoding) or np.ptp(history.cost[well]) == 0:
        return None
    with on_one_thread():
        acquisition = Acquisition(seed, history, lessons(history, encoding, sign_of(direction)), Prior(None))
        best = int(np.flatnonzero(well)[acquisition.means[well].argmin()])
        even, cost = even_costs(history.cost)[well], history.cost[well]
        order = np.argsort(even, kind="stable")
        at_best = float(acquisition.means[best])
        worse = np.interp([at_best, at_best + acquisition.noise], even[order], cost[order])
        return region_of(
            encoding,
            lambda units: acquisition.as_good(units, acquisition.noise),
            history.units[best],
            float(worse[1] - worse[0]),
            seed,
        )
