"""What the forest says of each hyperparameter: importance, partial dependence, and optima at the edge of the space.

Both are averaged over a Sobol sample of the *space*, not over the trials, which crowd around the optimum.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from lab.response.encode import Encoding
from lab.response.findings import Effect
from lab.response.forest import Prediction

Floats = NDArray[np.float64]

_MARGIN = 0.05
"""Share of a range that counts as its end."""
_BEST, _MOST = 5, 0.8
"""Trials that count as the best, at least; and the share of them that has to lie at an end."""


class Response(Protocol):
    """What effects are read from: a forest."""

    def trees(self, features: Floats) -> Floats:
        """What each tree predicts, [trees, n]."""

    def predict(self, features: Floats) -> Prediction:
        """Mean and standard deviation, each [n]."""


def sobol(n: int, d: int, seed: int) -> Floats:
    """n points of a scrambled Sobol sequence in the unit cube [n, d]; n is rounded up to a power of two."""
    sequence = scipy.stats.qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed))
    return np.asarray(sequence.random_base2((n - 1).bit_length()))


def partial_dependence(
    forest: Response,
    encoding: Encoding,
    name: str,
    history: Floats,
    *,
    seed: int,
    grid: int = 21,
    sample: int = 256,
    curves: int = 16,
) -> Effect:
    """The forest's mean over the space as one hyperparameter is held at each value of a grid; of a conditional one,
    over where it exists.

    Args:
        history: the trials in the unit cube [n, d], for the support.
        curves: single settings of the other hyperparameters that are kept beside the mean.
    """
    column = encoding.names.index(name)
    units, values = axis(encoding, name, grid)
    dist = encoding.distributions[name]
    reach = 0.5 / len(units) if isinstance(dist, CategoricalDistribution) else 0.5 / (grid - 1)
    base = sobol(sample, len(encoding), seed)
    exists = ~np.isnan(encoding.masked(base)[:, column])
    base = base[exists] if exists.any() else base
    per_tree, per_point = [], []
    for unit in units:
        base[:, column] = unit
        by_tree = forest.trees(encoding.features(base))
        per_tree.append(by_tree.mean(axis=1))
        per_point.append(by_tree[:, :curves].mean(axis=0))
    trees = np.stack(per_tree)  # [grid, trees]
    near = np.abs(history[:, column][None] - units[:, None]) <= max(reach, 0.05)
    low, high = np.quantile(trees, [0.1, 0.9], axis=1)
    return Effect(
        name,
        values,
        tuple(trees.mean(axis=1)),
        tuple(low),
        tuple(high),
        tuple(int(c) for c in near.sum(axis=1)),
        tuple(map(tuple, np.stack(per_point, axis=1).tolist())),
        log_scaled(encoding, name),
    )


def log_scaled(encoding: Encoding, name: str) -> bool:
    """Whether a hyperparameter is searched on a log scale."""
    return bool(getattr(encoding.distributions[name], "log", False))


def axis(encoding: Encoding, name: str, grid: int) -> tuple[Floats, tuple[Any, ...]]:
    """Where one hyperparameter is looked at: a grid over its range, or its options; in the unit cube and as values."""
    dist = encoding.distributions[name]
    count = len(dist.choices) if isinstance(dist, CategoricalDistribution) else grid
    options = isinstance(dist, CategoricalDistribution)
    units = (np.arange(count) + 0.5) / count if options else np.linspace(0, 1, grid)
    alone = Encoding({name: dist})
    return units, tuple(alone.values(np.array([unit]))[name] for unit in units)


def importances(
    forest: Response, encoding: Encoding, *, seed: int, sample: int = 512, direction: str = "maximize", best: float = 1
) -> dict[str, float]:
    """Permutation importance over the space: the share of the forest's variance that shuffling a parameter destroys.

    Half the mean squared change when one parameter is redrawn, over the total variance: Sobol's total-effect index
    (Jansen 1999), so interactions count for every parameter that takes part in them.

    Args:
        best: the share of the space, of what is predicted best in `direction`, within which that is asked: what
            decides between good and bad settings need not be what decides among good ones.
    """
    base = sobol(round(sample / best), len(encoding), seed)
    shuffle = np.random.default_rng(seed)
    sign = 1.0 if direction == "maximize" else -1.0
    before = forest.predict(encoding.features(base)).mean
    least = -np.inf
    if best < 1:
        least = float(np.quantile(sign * before, 1 - best))
        inside = sign * before >= least
        base, before = base[inside], before[inside]
    variance = float(before.var())
    shares: dict[str, float] = {}
    for column, name in enumerate(encoding.names):
        redrawn = base.copy()
        redrawn[:, column] = shuffle.permutation(redrawn[:, column])
        after = forest.predict(encoding.features(redrawn)).mean
        change = (after - before)[sign * after >= least]  # who has left the region says nothing of it
        share = 0.5 * float((change**2).mean()) / variance if variance > 0 and len(change) else 0.0
        shares[name] = min(share, 1.0)  # of a sample, and of a region that is no box, the estimate may be more
    return shares


def edge(effect: Effect, encoding: Encoding, direction: str) -> str | None:
    """`low` or `high` where the best of a numeric effect lies within 5 % of that end of its range, else None.

    Only where the curve rises towards the edge by more than its band is wide is that worth saying.
    """
    dist = encoding.distributions[effect.name]
    if isinstance(dist, CategoricalDistribution):
        return None
    mean = np.asarray(effect.mean) * (1 if direction == "maximize" else -1)
    best = int(mean.argmax())
    band = float(np.median(np.asarray(effect.high) - np.asarray(effect.low)))
    if float(np.ptp(mean)) <= band:
        return None
    margin = max(1, round(_MARGIN * (len(mean) - 1)))
    side = "low" if best <= margin else "high" if best >= len(mean) - 1 - margin else None
    return None if side is None or _natural(dist, side) else side


def crowded(encoding: Encoding, name: str, units: Floats, cost: Floats) -> str | None:
    """`low` or `high` where the best trials, four of five, lie within 5 % of that end of a numeric range, else None.

    Args:
        units: the trials in the unit cube [n, d].
        cost: [n], to be minimised.
    """
    dist = encoding.distributions[name]
    if isinstance(dist, CategoricalDistribution) or len(cost) < 2 * _BEST:
        return None
    # The last of few whole numbers is their end, though the middle of its share of the range lies further in.
    half = 0.5 * float(encoding.cells[encoding.names.index(name)])
    best = units[np.argsort(cost, kind="stable")[: max(_BEST, len(cost) // 10)], encoding.names.index(name)]
    for side, distance in (("low", best), ("high", 1 - best)):
        if (distance <= max(_MARGIN, half + 1e-9)).mean() >= _MOST and not _natural(dist, side):
            return side
    return None


def _natural(dist: BaseDistribution, side: str) -> bool:
    """Rates, counts and decays end at 0 by their nature, shares at 1: there is nothing beyond to search."""
    if side == "low":
        return bool(dist.low == 0)  # type: ignore[attr-defined]
    return bool(dist.high == 1 and not dist.log)  # type: ignore[attr-defined]
