"""What matters, by three measures side by side, each with the interval that other trials might have given.

Permutation: the share of the forest's variance over the space that a parameter accounts for, with its interactions.
fANOVA (Hutter et al. 2014): by itself alone. PED-ANOVA (Watanabe et al. 2023): what it takes to be among the best
trials, which is another question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from lab.surrogate.effects import importances
from lab.surrogate.encode import Encoding
from lab.surrogate.forest import Forest

Floats = NDArray[np.float64]
Shares = Mapping[str, float]


@dataclass(frozen=True)
class Importance:
    """A share, and the 10 % to 90 % interval over trials drawn anew."""

    share: float
    low: float
    high: float


def measures(
    encoding: Encoding, params: Sequence[Mapping[str, Any]], target: Floats, *, seed: int, draws: int = 16
) -> dict[str, dict[str, Importance]]:
    """Every measure's importance of every hyperparameter that all trials have.

    Args:
        params: of each trial [n].
        target: its cost [n], to be minimised: PED-ANOVA looks at the smallest.
    """
    by: dict[str, Callable[[NDArray[np.int64]], Shares]] = {
        "permutation": lambda rows: _permutation(encoding, [params[r] for r in rows], target[rows], seed),
        "fanova": lambda rows: _optunas(
            FanovaImportanceEvaluator(n_trees=32, seed=seed), encoding, params, target, rows
        ),
        "ped_anova": lambda rows: _optunas(PedAnovaImportanceEvaluator(), encoding, params, target, rows),
    }
    rng = np.random.default_rng(seed)
    everything = np.arange(len(target))
    samples = [rng.integers(len(target), size=len(target)) for _ in range(draws)]
    return {name: _with_intervals(measure, everything, samples) for name, measure in by.items()}


def _with_intervals(
    measure: Callable[[NDArray[np.int64]], Shares], rows: NDArray[np.int64], samples: Sequence[NDArray[np.int64]]
) -> dict[str, Importance]:
    found = measure(rows)
    drawn = [measure(sample) for sample in samples]
    out = {}
    for name, share in found.items():
        low, high = np.quantile([draw.get(name, 0.0) for draw in drawn], [0.1, 0.9])
        out[name] = Importance(share, min(float(low), share), max(float(high), share))
    return out


def _permutation(encoding: Encoding, params: Sequence[Mapping[str, Any]], target: Floats, seed: int) -> Shares:
    forest = Forest(seed).fit(encoding.features(encoding.units(params)), target)
    return importances(forest, encoding, seed=seed, sample=256)


def _optunas(
    evaluator: BaseImportanceEvaluator,
    encoding: Encoding,
    params: Sequence[Mapping[str, Any]],
    target: Floats,
    rows: NDArray[np.int64],
) -> Shares:
    """One of Optuna's evaluators, on a study made of these trials; none where it finds too little to go by."""
    if np.ptp(target[rows]) == 0:
        return {}
    # Numbers as their place in the unit cube: Optuna's fANOVA takes a log scale for a linear one.
    unit: dict[str, BaseDistribution] = {
        name: dist if isinstance(dist, CategoricalDistribution) else FloatDistribution(0, 1)
        for name, dist in encoding.distributions.items()
    }
    trials = []
    for row in rows:
        places = dict(zip(encoding.names, encoding.units([params[row]])[0].tolist(), strict=True))
        values = {
            name: params[row][name] if isinstance(dist, CategoricalDistribution) else places[name]
            for name, dist in unit.items()
            if name in params[row]
        }
        own = {name: unit[name] for name in values}
        trials.append(optuna.trial.create_trial(params=values, distributions=own, value=float(target[row])))
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    study.add_trials(trials)
    found = evaluator.evaluate(study)
    total = sum(found.values())
    return {name: float(share / total) for name, share in found.items()} if total > 0 else {}
