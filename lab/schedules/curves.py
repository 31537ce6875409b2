"""The shapes that schedules are made of: vectorised, float64, exact where a phase begins and where it ends."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = Callable[[ArrayLike, ArrayLike, Floats], Floats]
"""From `start` (p = 0) to `end` (p = 1), both scalars or [n], at positions p [n]."""


def fraction(steps: Ints, first: ArrayLike, last: ArrayLike) -> Floats:
    """Position of each step [n] from `first` (0., as before it) to `last` (1., as after it); 0. where both are one."""
    begin, end = np.asarray(first, dtype=np.float64), np.asarray(last, dtype=np.float64)
    p = np.zeros(steps.shape)
    np.divide(steps - begin, end - begin, out=p, where=end > begin)
    return np.clip(p, 0.0, 1.0)


def _exact(start: ArrayLike, end: ArrayLike, p: Floats, value: Floats) -> Floats:
    """`value` [n] without its rounding errors: the very ends at p = 0 and 1, and between them never beyond."""
    inside = np.clip(value, np.minimum(start, end), np.maximum(start, end))
    return np.asarray(np.where(p <= 0, start, np.where(p >= 1, end, inside)), dtype=np.float64)


def linear(start: ArrayLike, end: ArrayLike, p: Floats) -> Floats:
    """start + p (end - start)."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    return _exact(first, last, p, first + (last - first) * p)


def cosine(start: ArrayLike, end: ArrayLike, p: Floats) -> Floats:
    """Half a cosine: end + (start - end) (1 + cos(pi p)) / 2 (Loshchilov & Hutter 2017, arXiv 1608.03983)."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    return _exact(first, last, p, last + (first - last) * (1 + np.cos(np.pi * p)) / 2)


def exponential(start: ArrayLike, end: ArrayLike, p: Floats) -> Floats:
    """Equal ratios: start (end / start)^p, for start, end > 0."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    return _exact(first, last, p, first * (last / first) ** p)


def power(exponent: float) -> Shape:
    """The shape end + (start - end) (1 - p)^exponent."""

    def shape(start: ArrayLike, end: ArrayLike, p: Floats) -> Floats:
        first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        return _exact(first, last, p, last + (first - last) * (1 - p) ** exponent)

    return shape


def one_minus_sqrt(start: ArrayLike, end: ArrayLike, p: Floats) -> Floats:
    """end + (start - end) (1 - sqrt(p)) (Hägele et al. 2024, arXiv 2405.18392)."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    return _exact(first, last, p, last + (first - last) * (1 - np.sqrt(p)))


def piecewise(steps: Ints, nodes: ArrayLike, values: ArrayLike, shape: Shape) -> Floats:
    """The curve through `values` [m] at the ascending steps `nodes` [m], at `steps` [n] within them.

    Where nodes fall on the same step because a run is too short for all of them, the first step keeps the
    first value and the last step the last; a single step has the first value.
    """
    at, level = np.asarray(nodes, dtype=np.int64), np.asarray(values, dtype=np.float64)
    piece = np.clip(np.searchsorted(at, steps, side="right") - 1, 0, len(at) - 2)
    curve = shape(level[piece], level[piece + 1], fraction(steps, at[piece], at[piece + 1]))
    return np.asarray(np.where(steps == at[0], level[0], np.where(steps == at[-1], level[-1], curve)))


def decimal(value: float) -> Fraction:
    """A float as the decimal it is written as: 0.1 is one tenth, so that boundaries fall where they are said to."""
    return Fraction(repr(float(value)))


def portion(share: float, steps: int) -> int:
    """The whole steps in a share of `steps`, rounded down once."""
    return int(decimal(share) * steps)
