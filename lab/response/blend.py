"""The forest and a Gaussian process as one model, each weighted by what it predicts of trials it has not seen.

Stacking of predictive distributions (Yao et al. 2018): the mixture under which the left-out scores are most likely.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from lab.response.encode import Encoding
from lab.response.forest import Forest, Prediction
from lab.response.gaussian import GaussianProcess

Floats = NDArray[np.float64]

MOST_FOR_GAUSSIAN = 256
"""Trials beyond which the process, whose cost grows with their cube, sees only the best and a sample of the rest."""


class Blend:
    """A mixture of a forest and a Gaussian process over points of the unit cube."""

    def __init__(self, encoding: Encoding, seed: int) -> None:
        self._encoding, self._seed = encoding, seed

    def fit(self, units: Floats, target: Floats) -> Blend:
        """Fit to points [n, d] and target [n], to be minimised."""
        self._forest = Forest(self._seed).fit(self._encoding.features(units), target)
        chosen = _sample(target, MOST_FOR_GAUSSIAN, self._seed)
        self.gaussian = GaussianProcess(self._encoding).fit(units[chosen], target[chosen])
        self.share = self._stack(target, chosen)
        return self

    def predict(self, units: Floats) -> Prediction:
        """Mean and standard deviation of the mixture, each [m]."""
        parts = self.parts(units)
        mean = sum(w * p.mean for w, p in parts)
        second = sum(w * (p.mean**2 + p.std**2) for w, p in parts)
        return Prediction(np.asarray(mean), np.sqrt(np.maximum(second - mean**2, 0)))

    def improvement(self, units: Floats, best: float) -> Floats:
        """Expected improvement below `best` [m]: of a mixture it is the mixture's."""
        return np.asarray(sum(w * expected_improvement(p, best) for w, p in self.parts(units)))

    def below(self, units: Floats, bound: float) -> Floats:
        """How likely the response itself lies below a bound, [m]."""
        return np.asarray(
            sum(w * scipy.stats.norm.cdf((bound - p.mean) / np.maximum(p.std, 1e-9)) for w, p in self.parts(units))
        )

    def parts(self, units: Floats) -> list[tuple[float, Prediction]]:
        """The forest and the process with their shares."""
        return [
            (1 - self.share, self._forest.predict(self._encoding.features(units))),
            (self.share, self.gaussian.predict(units)),
        ]

    def _stack(self, target: Floats, chosen: NDArray[np.int64]) -> float:
        """The process's share."""
        forest, gaussian = self._forest.out_of_bag(chosen), self.gaussian.left_out()
        seen = np.isfinite(forest.mean)
        if seen.sum() < 4:
            return 0.5
        y = target[chosen][seen]
        by_forest = _density(y, forest.mean[seen], forest.std[seen])
        by_gaussian = _density(y, gaussian.mean[seen], gaussian.std[seen])
        shares = np.linspace(0.05, 0.95, 19)
        likelihood = [np.log(s * by_gaussian + (1 - s) * by_forest).sum() for s in shares]
        return float(shares[int(np.argmax(likelihood))])


def expected_improvement(predicted: Prediction, best: float) -> Floats:
    """Expected improvement below `best` of a normal, [n]."""
    std = np.maximum(predicted.std, 1e-9)
    z = (best - predicted.mean) / std
    return np.asarray((best - predicted.mean) * scipy.stats.norm.cdf(z) + std * scipy.stats.norm.pdf(z))


def _density(y: Floats, mean: Floats, std: Floats) -> Floats:
    return np.asarray(scipy.stats.norm.pdf(y, mean, std + 0.05 * float(y.std()) + 1e-9)) + 1e-12


def _sample(target: Floats, most: int, seed: int) -> NDArray[np.int64]:
    """Which trials a model of limited size is shown [<= most]: the better half of them best, the rest drawn."""
    if len(target) <= most:
        return np.arange(len(target))
    order = np.argsort(target, kind="stable")
    rest = np.random.default_rng(seed).choice(order[most // 2 :], most - most // 2, replace=False)
    return np.sort(np.concatenate([order[: most // 2], rest]))
