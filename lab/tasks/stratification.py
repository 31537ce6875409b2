"""Splits of examples with several labels, each label in its share. n rows, c labels, s splits.

Iterative stratification, after Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def iterative_stratification(
    labels: NDArray[np.int64], sizes: Mapping[str, int], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each split: the rarest label's rows are dealt out first, each to the split that lacks it most.

    Args:
        labels: 0 or 1 [n, c].
        sizes: rows of each split, together n; what labels want may change them by some.
    """
    random, n = np.random.default_rng(seed), len(labels)
    lacking = np.array(list(sizes.values()), dtype=np.float64)  # rows of each split, [s]
    lacking_of = lacking[:, None] / n * labels.sum(axis=0)  # of each label, [s, c]
    split_of = np.full(n, -1)
    left = labels.sum(axis=0)  # rows of each label that are to be dealt out still
    while left.any():
        rarest = int(np.where(left > 0, left, n + 1).argmin())
        rows = random.permutation(np.flatnonzero((labels[:, rarest] == 1) & (split_of < 0)))
        for row in rows:
            split_of[row] = split = _neediest(lacking_of[:, rarest], lacking, random)
            lacking[split] -= 1
            lacking_of[split] -= labels[row]
        left = left - labels[rows].sum(axis=0)
    for row in random.permutation(np.flatnonzero(split_of < 0)):  # without any label
        split_of[row] = split = int(lacking.argmax())
        lacking[split] -= 1
    return {name: np.flatnonzero(split_of == number) for number, name in enumerate(sizes)}


def _neediest(of_label: NDArray[np.float64], of_all: NDArray[np.float64], random: np.random.Generator) -> int:
    """The split that lacks most of a label; among several the one that lacks most rows, then any."""
    most = np.flatnonzero(of_label >= of_label.max() - 1e-9)
    most = most[of_all[most] >= of_all[most].max() - 1e-9]
    return int(random.choice(most))
