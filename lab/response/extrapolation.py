"""Where the trials do not reach: what a forest says there is not read from data.

A second forest is asked to tell the trials from points drawn evenly over the space. Where it can, the two differ: the
hyperparameters by which it does are those that were searched in a part of their range only, and what it takes for no
trial's place is extrapolation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.response.effects import sobol
from lab.response.encode import Encoding
from lab.response.findings import Extrapolation

Floats = NDArray[np.float64]

THIN = 0.25
"""Trials at a point, as a share of what an even search would have there, below which it counts as extrapolated."""
_FEWEST = 256
"""Even points: of few the forest would learn where these lie, rather than where the trials do."""


class Reach:
    """The forest that tells trials from the space."""

    def __init__(self, encoding: Encoding, units: Floats, seed: int, trees: int = 100) -> None:
        """From trials in the unit cube [n, d]; n >= 1."""
        from sklearn.ensemble import ExtraTreesClassifier

        self._encoding = encoding
        self._even = encoding.snap(sobol(max(len(units), _FEWEST), len(encoding), seed))
        features = encoding.features(np.concatenate([units, self._even])).astype(np.float32)
        self._trial = np.arange(len(features)) < len(units)
        self._model = ExtraTreesClassifier(
            trees, min_samples_leaf=3, bootstrap=True, class_weight="balanced", random_state=seed
        )
        self._model.fit(features, self._trial)
        self._features = features

    def density(self, units: Floats) -> Floats:
        """Trials at points [m, d], 1 where there are as many as an even search would have put there; [m]."""
        x = self._encoding.features(units).astype(np.float32)
        chance = np.mean([tree.tree_.predict(x)[:, 1] for tree in self._model.estimators_], axis=0)
        return np.asarray(chance / np.maximum(1 - chance, 1e-9))

    def read(self) -> Extrapolation:
        """What it says of the search as a whole."""
        from sklearn.metrics import roc_auc_score

        votes = np.stack([tree.tree_.predict(self._features)[:, 1] for tree in self._model.estimators_])
        for row, drawn in zip(votes, self._model.estimators_samples_, strict=True):
            row[drawn] = np.nan
        counted = np.isfinite(votes)
        seen = counted.any(axis=0)
        score = np.where(counted, votes, 0.0).sum(axis=0)[seen] / counted.sum(axis=0)[seen]
        both = 0 < self._trial[seen].sum() < seen.sum()
        importances = self._model.feature_importances_
        return Extrapolation(
            auc=max(float(roc_auc_score(self._trial[seen], score)), 0.5) if both else 0.5,
            thin_share=float((self.density(self._even) < THIN).mean()),
            by={name: float(importances[columns].sum()) for name, columns in self._encoding.columns},
        )
