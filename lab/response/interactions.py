"""Which hyperparameters act together: what the best value of one depends on another's.

Everything is averaged over a Sobol sample of the *space*, as in `effects`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from lab.response.effects import Response, axis, log_scaled, sobol
from lab.response.encode import Encoding
from lab.response.findings import Interaction, Surface
from lab.response.importance import drawn_interval

Floats = NDArray[np.float64]

MOST = 5
"""Hyperparameters whose pairs are looked at: the work grows with their square."""


def interactions(
    forests: Sequence[Response], encoding: Encoding, names: Sequence[str], *, seed: int, sample: int = 32
) -> list[Interaction]:
    """Every pair among `names`, the largest share first.

    Method: Friedman and Popescu (2008), with the partial dependences taken over the same points as the statistic, so
    that a sum of effects has an H of exactly 0.

    Args:
        forests: the one of all trials, then those of trials drawn anew.
    """
    base = sobol(sample, len(encoding), seed)
    columns = {name: encoding.names.index(name) for name in names}
    shares = [_shares(forest, encoding, base, columns) for forest in forests]
    out = []
    for pair, (h, share) in shares[0].items():
        out.append(Interaction(pair, h, share, *drawn_interval(share, [again[pair][1] for again in shares[1:]])))
    return sorted(out, key=lambda i: (-i.share, i.names))


def _shares(
    forest: Response, encoding: Encoding, base: Floats, columns: dict[str, int]
) -> dict[tuple[str, str], tuple[float, float]]:
    """H and share of the variance of every pair."""
    held = _holder(forest, encoding, base)
    total = float(forest.predict(encoding.features(base)).mean.var())
    alone = {name: _centered(held([column], base[:, [column]])) for name, column in columns.items()}
    out = {}
    for a, b in combinations(columns, 2):
        pair = [columns[a], columns[b]]
        joint = _centered(held(pair, base[:, pair]))
        rest = float(((joint - alone[a] - alone[b]) ** 2).mean())
        whole = float((joint**2).mean())
        tiny = 1e-12 * max(total, 1e-300)
        out[a, b] = (
            float(np.sqrt(min(rest / whole, 1.0))) if whole > tiny else 0.0,
            rest / total if total > 0 else 0.0,
        )
    return out


def surface(
    forest: Response,
    encoding: Encoding,
    names: tuple[str, str],
    history: Floats,
    *,
    seed: int,
    grid: int = 15,
    sample: int = 64,
) -> Surface:
    """The forest's mean over the space as two hyperparameters are held at each point of a grid.

    Args:
        history: the trials in the unit cube [n, d], for the support.
    """
    columns = [encoding.names.index(name) for name in names]
    (x, x_values), (y, y_values) = (axis(encoding, name, grid) for name in names)
    points = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], axis=1)  # [y * x, 2]
    mean = _holder(forest, encoding, sobol(sample, len(encoding), seed))(columns, points).reshape(len(y), len(x))
    # So wide that an even search would have three trials in it.
    window = float(np.clip(0.5 * np.sqrt(3 / max(len(history), 1)), 0.05, 0.25))
    near = np.ones((len(points), len(history)), dtype=bool)
    for column, name, values in zip(columns, names, points.T, strict=True):
        dist = encoding.distributions[name]
        reach = 0.5 / len(dist.choices) if isinstance(dist, CategoricalDistribution) else window
        near &= np.abs(history[:, column][None] - values[:, None]) <= reach
    support = near.sum(axis=1).reshape(len(y), len(x))
    return Surface(
        names,
        x_values,
        y_values,
        tuple(map(tuple, mean.tolist())),
        tuple(map(tuple, support.astype(int).tolist())),
        (log_scaled(encoding, names[0]), log_scaled(encoding, names[1])),
    )


def _holder(forest: Response, encoding: Encoding, base: Floats) -> Callable[[list[int], Floats], Floats]:
    """Partial dependence [m] on some columns held at points [m, columns], over the points of `base`."""

    def held(columns: list[int], points: Floats) -> Floats:
        rows = np.tile(base, (len(points), 1))
        rows[:, columns] = np.repeat(points, len(base), axis=0)
        predicted = forest.predict(encoding.features(rows)).mean
        return np.asarray(predicted.reshape(len(points), len(base)).mean(axis=1))

    return held


def _centered(values: Floats) -> Floats:
    return np.asarray(values - values.mean())
