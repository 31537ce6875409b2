"""Where training breaks: the probability that a setting diverges, from how the trials ended."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.response.forest import grown

Floats = NDArray[np.float64]


class Divergence:
    """P(diverge) from extra trees on the same features as the response; 0 where no trial has diverged."""

    def __init__(self, seed: int, trees: int = 64) -> None:
        self._seed, self._count = seed, trees
        self._trees: list[Any] = []

    def fit(self, features: Floats, diverged: NDArray[np.bool_]) -> Divergence:
        """Fit to features [n, f] and how the trials ended [n]."""
        # As if one more had ended well: where all are alike no place is certain, and none as good as another.
        self._share = float(diverged.sum()) / (len(diverged) + 1)
        if 0 < diverged.sum() < len(diverged):
            from sklearn.tree import ExtraTreeClassifier  # here: in most searches no trial diverges

            model = ExtraTreeClassifier(min_samples_leaf=2)
            self._trees, _ = grown(model, features, diverged, self._seed, self._count, len(diverged))
        return self

    def probability(self, features: Floats) -> Floats:
        """P(diverge), [n]."""
        if not self._trees:
            return np.full(len(features), self._share)
        x = features.astype(np.float32)
        chances = [tree.predict(x)[:, 1] for tree in self._trees]
        return np.asarray(np.mean(chances, axis=0))
