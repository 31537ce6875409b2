"""Where the sampler looks: over the whole space, and in steps around its best points."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from lab.response.encode import Encoding

Floats = NDArray[np.float64]

_WIDTHS = (0.3, 0.1, 0.03)
"""Length of a local step, in the unit cube."""


def sobol_point(d: int, index: int, seed: int) -> Floats:
    """Point `index` of a scrambled Sobol sequence [d]."""
    engine = scipy.stats.qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed))
    if index:
        engine.fast_forward(index)
    return np.asarray(engine.random(1)[0])


def everywhere(encoding: Encoding, count: int, rng: np.random.Generator) -> Floats:
    """Points drawn evenly over the space [count, d]."""
    return encoding.snap(rng.random((count, len(encoding))))


def around(encoding: Encoding, centers: Floats, per_center: int, rng: np.random.Generator) -> Floats:
    """Steps of several widths from each center [c, d], in one hyperparameter or in all; [c * per_center, d].

    A choice is drawn anew, since its options have no order to step along; a whole number moves by one at least.
    """
    count, d = len(centers) * per_center, len(encoding)
    start = np.repeat(np.nan_to_num(centers, nan=0.5), per_center, axis=0)
    width = rng.choice(_WIDTHS, (count, 1))
    moved = np.clip(start + rng.normal(0, 1, (count, d)) * np.maximum(width, encoding.cells), 0, 1)
    choice = [isinstance(dist, CategoricalDistribution) for dist in encoding.distributions.values()]
    moved[:, choice] = rng.random((count, sum(choice)))
    # One, two, four ... of the hyperparameters change, choices among them as often as any.
    share = rng.choice([1 / d, 2 / d, 4 / d, 1.0], (count, 1))
    chosen = rng.random((count, d)) < share
    chosen[np.arange(count), rng.integers(d, size=count)] = True
    chosen[:, choice] &= (rng.random((count, sum(choice))) < 0.5) | (share < 1)
    return encoding.snap(np.where(chosen, moved, start))


def apart(candidates: Floats, pending: Floats, reach: float = 0.15) -> Floats:
    """Factor in [0, 1] that vanishes at trials already running, so a batch spreads out; [n].

    What a point lacks counts as the middle of its range.
    """
    factor = np.ones(len(candidates))
    candidates = np.nan_to_num(candidates, nan=0.5)
    for point in np.nan_to_num(pending, nan=0.5):
        distance2 = ((candidates - point) ** 2).sum(axis=1)
        factor *= 1 - np.exp(-distance2 / (2 * reach**2))
    return factor


def among(candidates: Floats, points: Floats) -> NDArray[np.bool_]:
    """Which candidates [n, d] are one of the points [p, d]."""
    taken = {point.tobytes() for point in points}
    return np.array([candidate.tobytes() in taken for candidate in candidates], dtype=bool)
