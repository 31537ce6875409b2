"""Splits of examples with several labels, each label in its share. n rows, c labels, s splits.

Iterative stratification, after Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

_TRIED = 500
"""Rows of a split that are tried at most for one exchange."""
_NOTHING = -1e-9
"""A change of squared distances that is no gain."""


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
    _settle(labels, split_of, np.array(list(sizes.values()), dtype=np.float64), random)
    return {name: np.flatnonzero(split_of == number) for number, name in enumerate(sizes)}


def _neediest(of_label: NDArray[np.float64], of_all: NDArray[np.float64], random: np.random.Generator) -> int:
    """The split that lacks most of a label; among several the one that lacks most rows, then any."""
    most = np.flatnonzero(of_label >= of_label.max() - 1e-9)
    most = most[of_all[most] >= of_all[most].max() - 1e-9]
    return int(random.choice(most))


def _settle(
    labels: NDArray[np.int64], split_of: NDArray[np.int64], sizes: NDArray[np.float64], random: np.random.Generator
) -> None:
    """Move and exchange rows in place, where a label is further from its share than there are labels: each row is dealt
    out for its rarest label, and of one in four hundred draws the commonest ones end there."""
    n, c = labels.shape
    rows = np.column_stack([labels, np.ones(n)])  # what a split has more of by each row: labels, and a row
    wanted = sizes[:, None] / n * rows.sum(axis=0)
    over = np.stack([rows[split_of == split].sum(axis=0) for split in range(len(sizes))]) - wanted
    for _ in range(n):
        if (abs(over[:, :c]) <= c + 0.5).all() and (abs(over[:, c]) <= c + 1).all():
            return
        taken = [random.permutation(np.flatnonzero(split_of == split))[:_TRIED] for split in range(len(sizes))]
        best: tuple[float, int, int, int, int | None] = (_NOTHING, 0, 0, 0, None)
        for giver, taker in permutations(range(len(sizes)), 2):
            if not len(taken[giver]):
                continue
            # Nothing in return, or one of the taker's rows.
            back = np.concatenate([np.zeros((1, c + 1)), rows[taken[taker]]])
            moved = rows[taken[giver]][:, None] - back
            change = 2 * moved @ (over[taker] - over[giver]) + 2 * (moved**2).sum(axis=2)
            i, j = np.unravel_index(int(change.argmin()), change.shape)
            if change[i, j] < best[0]:
                returned = None if j == 0 else int(taken[taker][j - 1])
                best = (float(change[i, j]), giver, taker, int(taken[giver][i]), returned)
        gained, giver, taker, row, returned = best
        if gained >= _NOTHING:
            return
        moved_row = rows[row] - (0 if returned is None else rows[returned])
        over[giver] -= moved_row
        over[taker] += moved_row
        split_of[row] = taker
        if returned is not None:
            split_of[returned] = giver
