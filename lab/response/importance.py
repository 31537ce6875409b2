"""What matters, by several measures side by side, each with the interval that other trials might have given.

Permutation: the share of the forest's variance over the space that a parameter accounts for, with its interactions;
once over the whole space and once within its good region. fANOVA (Hutter et al. 2014): by itself alone. PED-ANOVA
(Watanabe et al. 2023): what it takes to be among the best trials, which is another question.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial

from lab.response.effects import importances
from lab.response.encode import Encoding
from lab.response.findings import Importance
from lab.response.forest import Forest

Floats = NDArray[np.float64]
Shares = Mapping[str, float]
Rows = NDArray[np.int64]


_MOST_FOR_FANOVA, _MOST_FOR_PED, _FANOVA_TREES = 96, 256, 16
"""Trials that Optuna's measures are shown at most, drawn anew: fANOVA's cost grows faster than their square."""

GOOD = 0.25
"""Share of the space, of what is predicted best, that counts as its good region."""


@dataclass(frozen=True)
class Resampled:
    """Forests of all trials and of trials drawn anew: what else the same search might have taught."""

    rows: tuple[Rows, ...]
    """Which trials each was shown, [n] each; the first has all, in their order."""
    forests: tuple[Forest, ...]


def resampled(features: Floats, target: Floats, *, seed: int, draws: int = 8) -> Resampled:
    """Fit to all trials, and to `draws` bootstrap samples of them."""
    rng = np.random.default_rng(seed)
    count = len(target)
    rows = (np.arange(count), *(rng.integers(count, size=count) for _ in range(draws)))
    return Resampled(rows, tuple(Forest(seed).fit(features[r], target[r]) for r in rows))


def measures(
    encoding: Encoding, params: Sequence[Mapping[str, Any]], target: Floats, again: Resampled, *, seed: int
) -> dict[str, dict[str, Importance]]:
    """Every measure's importance of every hyperparameter; Optuna's of those that all trials have.

    Args:
        params: of each trial [n].
        target: its cost [n], to be minimised: PED-ANOVA looks at the smallest.
        again: the forests of this cost.
    """
    trials = _optunas_trials(encoding, params, target)
    fanova, ped = FanovaImportanceEvaluator(n_trees=_FANOVA_TREES, seed=seed), PedAnovaImportanceEvaluator()
    measures: dict[str, list[Shares]] = {
        "permutation": [importances(f, encoding, seed=seed, sample=256) for f in again.forests],
        "fanova": [_optunas(fanova, trials, _at_most(rows, _MOST_FOR_FANOVA, seed)) for rows in again.rows],
        "ped_anova": [_optunas(ped, trials, _at_most(rows, _MOST_FOR_PED, seed)) for rows in again.rows],
        "good_region": [
            importances(f, encoding, seed=seed, sample=256, direction="minimize", best=GOOD) for f in again.forests
        ],
    }
    return {name: _with_intervals(shares[0], shares[1:]) for name, shares in measures.items()}


def _at_most(rows: Rows, most: int, seed: int) -> Rows:
    return rows if len(rows) <= most else np.random.default_rng(seed).choice(rows, most, replace=False)


def _with_intervals(shares: Shares, drawn: Sequence[Shares]) -> dict[str, Importance]:
    out = {}
    for name, share in shares.items():
        out[name] = Importance(share, *drawn_interval(share, [draw.get(name, 0.0) for draw in drawn]))
    return out


def drawn_interval(share: float, drawn: Sequence[float]) -> tuple[float, float]:
    """10 % to 90 % of a share over trials drawn anew, widened to hold the share itself."""
    low, high = np.quantile(drawn or [share], [0.1, 0.9])
    return min(float(low), share), max(float(high), share)


def _optunas(evaluator: BaseImportanceEvaluator, trials: Sequence[FrozenTrial], rows: Rows) -> Shares:
    """One of Optuna's evaluators, on a study made of some trials; none where it finds too little to go by."""
    chosen = [trials[row] for row in rows]
    if len({trial.value for trial in chosen}) < 2:
        return {}
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    study.add_trials(chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that few trials have a parameter shows in the interval
        shares = evaluator.evaluate(study)
    total = sum(shares.values())
    return {name: float(share / total) for name, share in shares.items()} if total > 0 else {}


def _optunas_trials(encoding: Encoding, params: Sequence[Mapping[str, Any]], target: Floats) -> list[FrozenTrial]:
    """Numbers as their place in the unit cube: Optuna's fANOVA takes a log scale for a linear one."""
    unit: dict[str, BaseDistribution] = {
        name: dist if isinstance(dist, CategoricalDistribution) else FloatDistribution(0, 1)
        for name, dist in encoding.distributions.items()
    }
    trials = []
    for point, positions, cost in zip(params, encoding.units(params).tolist(), target.tolist(), strict=True):
        position = dict(zip(encoding.names, positions, strict=True))
        values = {
            name: point[name] if isinstance(dist, CategoricalDistribution) else position[name]
            for name, dist in unit.items()
            if name in point
        }
        own = {name: unit[name] for name in values}
        trials.append(optuna.trial.create_trial(params=values, distributions=own, value=cost))
    return trials
