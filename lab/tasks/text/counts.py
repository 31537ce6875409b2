"""What stands in a text, counted: for models that want numbers and not an order. n texts, t tokens, f features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_PAIRS = 2**18
"""Features for pairs of neighbours, which share them where there are more."""
_STEP = 1_000_003


def counts(codes: NDArray[np.int32], size: int) -> csr_matrix:
    """How often each token and each pair of neighbours stands in texts of codes [n, t]: [n, f].

    Args:
        size: how many codes there are; 0 is none of a token.

    >>> counts(np.array([[2, 3, 2, 0]], dtype=np.int32), 4).sum()
    np.float32(5.0)
    """
    n, wide = codes.shape
    first, second = codes[:, :-1].astype(np.int64), codes[:, 1:].astype(np.int64)
    pairs = size + (first * _STEP + second) % _PAIRS
    features = np.concatenate([codes, pairs], axis=1)
    there = np.concatenate([codes > 0, second > 0], axis=1)
    rows = np.repeat(np.arange(n), 2 * wide - 1)[there.ravel()]
    ones = np.ones(len(rows), dtype=np.float32)
    return csr_matrix((ones, (rows, features[there])), shape=(n, size + _PAIRS))
