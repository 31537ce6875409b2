"""Several objectives as one: each proposal weighs them anew, so that all proposals together spread over the front.

Method: ParEGO (Knowles 2006, IEEE Transactions on Evolutionary Computation 10(1), equations 1 and 2): the augmented
Tchebycheff distance from the best of each objective, all on a scale from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lab.search.history import History, without_far
from lab.spec.outcomes import METRICS

Floats = NDArray[np.float64]

_RHO = 0.05
"""Knowles' weight of the sum: it tells points apart that are equally far in their worst objective."""


def weights_of(objectives: int, seed: int) -> Floats:
    """Weights [objectives] of a proposal, evenly from all that add up to 1."""
    return np.random.default_rng(seed).dirichlet(np.ones(objectives))


def traded_off(history: History, costs: Sequence[str], weights: Floats) -> History:
    """A history whose one cost is the distance [n] from the best of score and costs, by weights [1 + costs].

    Trials of which a cost is not known teach nothing, but for those that diverged. Costs are on a log scale. Scores are
    as they are, but for the far worst, which would squeeze the others together: on the scale of `even_costs`, which
    tells near-equal good ones apart, most proposals went to large nets.
    """
    measured = np.array([[_cost(trial.user_attrs, name) for name in costs] for trial in history.trials])
    measured = measured.reshape(len(history), len(costs))
    kept = history.diverged | ~np.isnan(measured).any(axis=1)
    well = kept & ~history.diverged
    distance = np.full(len(history), np.inf)
    if well.any():
        scores = history.cost[well] / (np.abs(history.cost[well]).max() or 1.0)  # the largest there are would overflow
        objectives = np.column_stack([without_far(scores), np.log(measured[well])])
        weighted = weights * _from_0_to_1(objectives)
        distance[well] = weighted.max(axis=1) + _RHO * weighted.sum(axis=1)
    return replace(
        history,
        trials=tuple(trial for trial, keep in zip(history.trials, kept, strict=True) if keep),
        units=history.units[kept],
        cost=distance[kept],
    )


def _cost(attrs: dict[str, object], name: str) -> float:
    metrics = attrs.get(METRICS)
    value = metrics.get(name) if isinstance(metrics, dict) else None
    return max(float(value), 1.0) if isinstance(value, (int, float)) and value == value else np.nan


def _from_0_to_1(values: Floats) -> Floats:
    """Columns of values [n, k] from 0, the least, to 1; 0 where all are alike."""
    low, spread = values.min(axis=0), np.ptp(values, axis=0)
    return np.asarray((values - low) / np.where(spread > 0, spread, 1.0))
