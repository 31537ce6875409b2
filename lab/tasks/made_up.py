"""Inputs that nobody gave, made of those that somebody did: what a teacher is asked about to teach a smaller model.

Shapes: n examples.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CANDIDATES = 32
"""Others among which an example's neighbour is looked for."""
_BYTES = 2**26


def made_up(x: Tensor, random: np.random.Generator) -> Tensor:
    """An input like each of [n, ...]: a mean of it and another one, weighted at random (mixup, Zhang et al. 2018, arXiv
    1710.09412), or, of whole numbers such as codes, each number from one of the two.

    Pixels, which are bytes, are mixed as numbers are.
    """
    partner = x[torch.from_numpy(random.permutation(len(x)))]
    each = (len(x), *[1] * (x.ndim - 1))
    if x.is_floating_point() or x.dtype == torch.uint8:
        weight = torch.from_numpy(random.uniform(0.5, 1.0, each).astype(np.float32)).to(x.device)
        mixed = partner + weight * (x.to(weight.dtype) - partner.to(weight.dtype))
        return (mixed.round() if x.dtype == torch.uint8 else mixed).to(x.dtype)
    own = torch.from_numpy(random.random(tuple(x.shape)) < random.uniform(0.5, 1.0, each)).to(x.device)
    return torch.where(own, x, partner)


def crossed(
    x: NDArray[np.float32], column_of: NDArray[np.int64], codes: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """A row like each of a table [n, f]: half of its columns, drawn at random, from a row that is near to it.

    After MUNGE (Bucila, Caruana and Niculescu-Mizil 2006, Model Compression, section 3.3): values of rows that are
    alike are exchanged, so that columns keep what they have to do with each other. Here the neighbour is the nearest
    of some rows drawn at random, and a number is taken as it is.

    Args:
        column_of: the column that each input [f] is made of: they are taken together. The first `codes` of the columns
            are codes, of which two are equal or not.
    """
    partner = x[_near(x, column_of, codes, random)]
    taken = random.random((len(x), int(column_of.max()) + 1)) < 0.5
    return np.where(taken[:, column_of], partner, x)


def _near(
    x: NDArray[np.float32], column_of: NDArray[np.int64], codes: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """A near one of each row [n]: by how many codes differ, and how far numbers lie apart."""
    plain = x[:, [int(np.flatnonzero(column_of == column)[0]) for column in range(int(column_of.max()) + 1)]]
    near = np.empty(len(x), dtype=np.int64)
    at_once = max(_BYTES // (4 * _CANDIDATES * plain.shape[1]), 1)
    for start in range(0, len(x), at_once):
        rows = np.arange(start, min(start + at_once, len(x)))
        others = random.integers(0, max(len(x) - 1, 1), (len(rows), _CANDIDATES))
        others += (others >= rows[:, None]) & (len(x) > 1)  # not itself
        apart = np.abs(plain[rows, None] - plain[others])
        apart[..., :codes] = apart[..., :codes] > 0
        nearest = np.minimum(apart, 1.0).sum(axis=2).argmin(axis=1)
        near[rows] = others[np.arange(len(rows)), nearest]
    return near
