"""What the forest says of each hyperparameter: importance, partial dependence, and optima at the edge of the space.

Both are averaged over a Sobol sample of the *space*, not over the trials, which crowd around the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from scipy.stats import qmc

from lab.surrogate.encode import Encoding
from lab.surrogate.forest import Prediction

Floats = NDArray[np.float64]


class Response(Protocol):
    """What effects are read from: a forest."""

    def trees(self, features: Floats) -> Floats:
        """What each tree predicts, [trees, n]."""

    def predict(self, features: Floats) -> Prediction:
        """Mean and standard deviation, each [n]."""


@dataclass(frozen=True)
class Effect:
    """Partial dependence of the score on one hyperparameter, with the trees' 10 % to 90 % band."""

    name: str
    values: tuple[Any, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    support: tuple[int, ...]
    """Trials near each grid point: where it is 0 the curve is the forest's guess."""


def sobol(n: int, d: int, seed: int) -> Floats:
    """n points of a scrambled Sobol sequence in the unit cube [n, d]; n is rounded up to a power of two."""
    return np.asarray(qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed)).random_base2((n - 1).bit_length()))


def partial_dependence(
    forest: Response, encoding: Encoding, name: str, history: Floats, *, seed: int, grid: int = 21, sample: int = 256
) -> Effect:
    """The forest's mean over the space as one hyperparameter is held at each value of a grid.

    Args:
        history: the trials in the unit cube [n, d], for the support.
    """
    column = encoding.names.index(name)
    dist = encoding.distributions[name]
    if isinstance(dist, CategoricalDistribution):
        count = len(dist.choices)
        units = (np.arange(count) + 0.5) / count
        reach = 0.5 / count
    else:
        units = np.linspace(0, 1, grid)
        reach = 0.5 / (grid - 1)
    base = sobol(sample, len(encoding), seed)
    per_tree = []
    for unit in units:
        base[:, column] = unit
        per_tree.append(forest.trees(encoding.features(base)).mean(axis=1))
    trees = np.stack(per_tree)  # [grid, trees]
    near = np.abs(history[:, column][None] - units[:, None]) <= max(reach, 0.05)
    low, high = np.quantile(trees, [0.1, 0.9], axis=1)
    anchor = np.full(len(encoding), 0.5)
    values = []
    for unit in units:
        anchor[column] = unit
        values.append(encoding.values(anchor)[name])
    return Effect(
        name, tuple(values), tuple(trees.mean(axis=1)), tuple(low), tuple(high), tuple(int(c) for c in near.sum(axis=1))
    )


def importances(forest: Response, encoding: Encoding, *, seed: int, sample: int = 512) -> dict[str, float]:
    """Permutation importance over the space: the share of the forest's variance that shuffling a parameter destroys.

    Half the mean squared change when one parameter is redrawn, over the total variance: Sobol's total-effect index
    (Jansen 1999), so interactions count for every parameter that takes part in them.
    """
    base = sobol(sample, len(encoding), seed)
    shuffle = np.random.default_rng(seed)
    before = forest.predict(encoding.features(base)).mean
    variance = float(before.var())
    found: dict[str, float] = {}
    for column, name in enumerate(encoding.names):
        redrawn = base.copy()
        redrawn[:, column] = shuffle.permutation(redrawn[:, column])
        change = forest.predict(encoding.features(redrawn)).mean - before
        found[name] = 0.5 * float((change**2).mean()) / variance if variance > 0 else 0.0
    return found


def edge(effect: Effect, encoding: Encoding, direction: str) -> str | None:
    """`low` or `high` where the best of a numeric effect lies within 5 % of that end of its range, else None.

    Only where the curve rises towards the edge by more than its band is wide is that worth saying.
    """
    if isinstance(encoding.distributions[effect.name], CategoricalDistribution):
        return None
    mean = np.asarray(effect.mean) * (1 if direction == "maximize" else -1)
    best = int(mean.argmax())
    band = float(np.median(np.asarray(effect.high) - np.asarray(effect.low)))
    if float(np.ptp(mean)) <= band:
        return None
    margin = max(1, round(0.05 * (len(mean) - 1)))
    if best <= margin:
        # Rates, counts and decays end at 0 by their nature: there is nothing below to search.
        return None if effect.values[0] == 0 else "low"
    return "high" if best >= len(mean) - 1 - margin else None
