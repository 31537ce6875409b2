"""The random forest that models the response: score as a function of the hyperparameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

Floats = NDArray[np.float64]


class Prediction(NamedTuple):
    """Mean over trees and the trees' standard deviation, each [n]."""

    mean: Floats
    std: Floats


class Forest:
    """scikit-learn's random forest with its trees laid open and an honest measure of its quality.

    Leaves hold at least two trials, so a single lucky score cannot make a leaf of its own.
    """

    def __init__(self, seed: int, trees: int = 128) -> None:
        self._model = RandomForestRegressor(
            n_estimators=trees, min_samples_leaf=2, max_features=0.8, bootstrap=True, oob_score=False, random_state=seed
        )
        self._oob = np.empty(0)

    def fit(self, features: Floats, target: Floats) -> Forest:
        """Fit to features [n, f] and target [n]; n >= 1."""
        self._model.fit(features.astype(np.float32), target)
        self._features, self._target = features, target
        return self

    def trees(self, features: Floats) -> Floats:
        """What each tree predicts, [trees, n]."""
        x = features.astype(np.float32)
        return np.stack([tree.predict(x, check_input=False) for tree in self._model.estimators_])

    def predict(self, features: Floats) -> Prediction:
        trees = self.trees(features)
        return Prediction(trees.mean(axis=0), trees.std(axis=0))

    def out_of_bag(self) -> Floats:
        """For each training point the mean of the trees that have not seen it, [n]; NaN where all have."""
        trees = self.trees(self._features)
        unseen = np.ones(trees.shape, dtype=bool)
        for row, drawn in zip(unseen, self._model.estimators_samples_, strict=True):
            row[drawn] = False
        count = unseen.sum(axis=0)
        total = np.where(unseen, trees, 0.0).sum(axis=0)
        return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))

    def out_of_bag_r2(self) -> float | None:
        """1 - residual / total sum of squares, out of bag; None where the target does not vary."""
        predicted = self.out_of_bag()
        seen = np.isfinite(predicted)
        target = self._target[seen]
        total = float(((target - target.mean()) ** 2).sum()) if seen.any() else 0.0
        if total <= 1e-12 * max(1.0, float(np.abs(self._target).max()) ** 2):
            return None
        return 1.0 - float(((target - predicted[seen]) ** 2).sum()) / total
