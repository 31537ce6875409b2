"""Where training breaks: the probability that a setting diverges, from how the trials ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

Floats = NDArray[np.float64]


class Divergence:
    """P(diverge) from extra trees on the same features as the response; 0 where no trial has diverged."""

    def __init__(self, seed: int, trees: int = 64) -> None:
        self._seed, self._trees = seed, trees
        self._model: ExtraTreesClassifier | None = None

    def fit(self, features: Floats, diverged: NDArray[np.bool_]) -> Divergence:
        """Fit to features [n, f] and how the trials ended [n]."""
        # As if one more had ended well: where all are alike no place is certain, and none as good as another.
        self._share = float(diverged.sum()) / (len(diverged) + 1)
        if 0 < diverged.sum() < len(diverged):
            from sklearn.ensemble import ExtraTreesClassifier  # here: in most searches no trial diverges

            self._model = ExtraTreesClassifier(
                self._trees, min_samples_leaf=2, bootstrap=True, random_state=self._seed
            ).fit(features.astype(np.float32), diverged)
        return self

    def probability(self, features: Floats) -> Floats:
        """P(diverge), [n]."""
        if self._model is None:
            return np.full(len(features), self._share)
        x = features.astype(np.float32)
        chances = [tree.tree_.predict(x)[:, 1] for tree in self._model.estimators_]
        return np.asarray(np.mean(chances, axis=0))
