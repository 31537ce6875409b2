"""Columns of a table that say the same: clustered by rank correlation. n rows, f columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.9
"""The rank correlation, of either sign, from which on columns are taken for one. Average linkage joins clusters of
less only where most of their pairs have more."""
_ROWS_A_LEVEL = 10


def ranked(values: NDArray[np.float64], order: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """The ranks [n] of a column [n], from 1 on, ties in their middle, 0 where it is missing.

    Args:
        order: where values are codes of a category, which have no order: a number for each row [n], such as what is
            predicted, by whose means levels are ordered, unless they are many, when that would be each row's own
            number. None: values have an order.

    >>> ranked(np.array([3.0, np.nan, 1.0, 3.0]))
    array([2.5, 0. , 1. , 2.5])
    """
    from scipy.stats import rankdata

    there = ~np.isnan(values)
    ranks = np.zeros(len(values))
    of_rows = values[there]
    if order is not None and there.any():
        levels, codes = np.unique(of_rows, return_inverse=True)
        if _ROWS_A_LEVEL * len(levels) <= len(of_rows):
            of_rows = (np.bincount(codes, weights=order[there]) / np.bincount(codes))[codes]
    ranks[there] = rankdata(of_rows)
    return ranks


def clusters(ranks: NDArray[np.float64], least: float = ALIKE) -> list[list[int]]:
    """Columns [n, f] parted into those that are alike: their positions, in the order of the first of each.

    Hierarchical clustering of 1 - |Spearman's rho| by average linkage (scipy.cluster.hierarchy), as chapter 9 of the
    fast.ai course does.

    >>> rows = np.arange(5.0)
    >>> clusters(np.stack([rows, rows % 2, -rows], axis=1))
    [[0, 2], [1]]
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    columns = ranks.shape[1]
    if columns < 2:
        return [[i] for i in range(columns)]
    centred = ranks - ranks.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=0))
    rho = (centred.T @ centred) / np.maximum(np.outer(lengths, lengths), 1e-12)
    apart = np.clip(1.0 - np.abs(rho), 0.0, 1.0)
    apart = (apart + apart.T) / 2
    np.fill_diagonal(apart, 0.0)
    labels = fcluster(linkage(squareform(apart, checks=False), "average"), 1.0 - least, "distance")
    members: dict[int, list[int]] = {}
    for column, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(column)
    return list(members.values())


def named(names: Sequence[str]) -> str:
    """Columns that are alike, in words."""
    return " with ".join(repr(name) for name in names)
