"""scikit-learn's estimators of several targets of different kinds, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

_LEAST = 1e-7
"""A probability is no smaller."""


class OfEachTarget(BaseEstimator):  # type: ignore[misc]  # it has no types
    """An estimator for each target, as one that gives log-probabilities and values [n, w] for targets [n, t], as
    `lab.tasks.several_targets.Targets` has them.

    Args:
        estimators: of each target, untrained.
        classes: how many each target has; 0: it is a value.
    """

    def __init__(self, estimators: Sequence[Any], classes: Sequence[int]) -> None:
        self.estimators, self.classes = estimators, classes

    def fit(self, x: Any, y: NDArray[np.float32]) -> Self:
        """Train each on its column of the targets."""
        pairs = zip(self.estimators, self.classes, y.T, strict=True)
        self.fitted_ = [clone(one).fit(x, own.astype(np.int64) if count else own) for one, count, own in pairs]
        return self

    def predict(self, x: Any) -> NDArray[np.float64]:
        """What all of them predict; a class that was not there has next to no probability."""
        columns = []
        for one, count in zip(self.fitted_, self.classes, strict=True):
            if count:
                shares = np.zeros((x.shape[0], count))
                shares[:, one.classes_] = one.predict_proba(x)
                columns.append(np.log(np.clip(shares, _LEAST, None)))
            else:
                columns.append(np.asarray(one.predict(x), dtype=np.float64).reshape(x.shape[0], 1))
        return np.concatenate(columns, axis=1)
