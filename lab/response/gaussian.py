"""A Gaussian process beside the forest: where the response is smooth it needs far fewer trials to say so.

scikit-learn's takes neither priors on its length scales, without which ten trials in nine dimensions fit anything, nor
one length scale for all columns of a choice; both are needed here, and are little code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from lab.response.encode import Encoding
from lab.response.forest import Prediction

Floats = NDArray[np.float64]

_JITTER = 1e-6
_MOST_FOR_SCALES = 128
"""Trials by which the scales are sought, evenly over the history: they need fewer than the predictions do."""

_LENGTH_SPREAD, _SCALE_SPREAD = 1.2, 1.0
_NOISE_MEAN, _NOISE_SPREAD = -4.0, 2.0
"""Width of the priors on the logarithms: wide, so that exact and very noisy scores are both possible."""


@dataclass(frozen=True)
class Scales:
    """Logarithms of the inverse squared length scale of each hyperparameter [d], of the variance, and of the noise."""

    weights: Floats
    variance: float
    noise: float

    @classmethod
    def of(cls, theta: Floats) -> Scales:
        return cls(theta[:-2], float(theta[-2]), float(theta[-1]))


class GaussianProcess:
    """Matern 5/2 with a length scale per hyperparameter, the scales at the maximum of their posterior.

    Length scales have a log-normal prior whose mean grows with the dimension, after Hvarfner et al. (2024), a little
    shorter and narrower than theirs.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def fit(self, units: Floats, target: Floats, scales: Scales | None = None) -> GaussianProcess:
        """Fit to points of the unit cube [n, d] and target [n]; `scales` that are known are not searched again."""
        self._inputs, self._group = _inputs(self._encoding, units)
        self._mean, self._std = float(target.mean()), float(target.std()) or 1.0
        y = (target - self._mean) / self._std
        self.scales = scales or self._search(y)
        inputs = self._scaled(self._inputs)
        covariance = self._covariance(inputs, inputs)
        covariance[np.diag_indices(len(y))] += np.exp(self.scales.noise) + _JITTER
        self._root = scipy.linalg.cholesky(covariance, lower=True)
        self._alpha = scipy.linalg.cho_solve((self._root, True), y)
        return self

    def predict(self, units: Floats) -> Prediction:
        """Mean and standard deviation of the response itself, without the noise, each [m]."""
        inputs, _ = _inputs(self._encoding, units)
        covariance = self._covariance(self._scaled(inputs), self._scaled(self._inputs))
        mean = covariance @ self._alpha
        solved = scipy.linalg.solve_triangular(self._root, covariance.T, lower=True, overwrite_b=True)
        variance = np.exp(self.scales.variance) - (solved**2).sum(axis=0)
        return Prediction(self._mean + self._std * mean, self._std * np.sqrt(np.maximum(variance, 1e-12)))

    def left_out(self) -> Prediction:
        """What it would have predicted for each score without having seen it, noise included; each [n]."""
        inverse = scipy.linalg.cho_solve((self._root, True), np.eye(len(self._alpha)))
        variance = 1 / np.diag(inverse)
        y = self._root @ (self._root.T @ self._alpha)
        return Prediction(self._mean + self._std * (y - self._alpha * variance), self._std * np.sqrt(variance))

    @property
    def noise(self) -> float:
        """Standard deviation of the score of one setting, as estimated."""
        return self._std * float(np.exp(0.5 * self.scales.noise))

    def _scaled(self, inputs: Floats) -> Floats:
        return np.asarray(inputs * np.exp(0.5 * self.scales.weights)[self._group])

    def _covariance(self, left: Floats, right: Floats) -> Floats:
        squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None]
        squares -= 2 * left @ right.T
        return _matern(np.maximum(squares, 0, out=squares), self.scales.variance)

    def _search(self, y: Floats) -> Scales:
        d = len(self._encoding)
        some = np.linspace(0, len(y) - 1, min(len(y), _MOST_FOR_SCALES)).astype(np.int64)
        y = y[some]
        gaps = np.zeros((d, len(y), len(y)))
        for column, group in zip(self._inputs[some].T, self._group, strict=True):
            gaps[group] += (column[:, None] - column[None]) ** 2
        length = np.sqrt(2) - 0.5 + 0.5 * np.log(d)
        center = np.concatenate([np.full(d, -2 * length), [0.0, _NOISE_MEAN]])  # of log(1/l^2), from that of log l
        spread = np.concatenate([np.full(d, 2 * _LENGTH_SPREAD), [_SCALE_SPREAD, _NOISE_SPREAD]])

        def loss(theta: Floats) -> tuple[float, Floats]:
            value, slope = _negative_likelihood(theta, gaps, y)
            z = (theta - center) / spread
            return value + 0.5 * float(z @ z), slope + z / spread

        limits = [(-12.0, 8.0)] * d + [(-4.0, 4.0), (-12.0, 2.0)]
        starts = [center, np.concatenate([np.full(d, 0.0), [0.0, -1.0]])]
        fits = [
            scipy.optimize.minimize(loss, s, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 40})
            for s in starts
        ]
        return Scales.of(np.asarray(min(fits, key=lambda f: float(f.fun)).x))


def _inputs(encoding: Encoding, units: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Columns whose squared distances add up per hyperparameter, and the hyperparameter of each column.

    A choice differs by 1 or not at all; a parameter that one of two trials lacks differs by 1.
    """
    columns, groups = [], []
    for group, dist in enumerate(encoding.distributions.values()):
        unit = units[:, group]
        absent = np.isnan(unit)
        if isinstance(dist, CategoricalDistribution):
            index = np.where(absent, -1, np.floor(unit * len(dist.choices)))
            new = [(index == choice) / np.sqrt(2) for choice in range(len(dist.choices))]
        else:
            new = [np.where(absent, 0.5, unit)]
        new.append(absent / np.sqrt(2) if isinstance(dist, CategoricalDistribution) else absent.astype(np.float64))
        columns += new
        groups += [group] * len(new)
    return np.stack(columns, axis=1), np.array(groups)


def _matern(squares: Floats, log_variance: float) -> Floats:
    """Covariance by squared distance, of the same shape.

    In place: for thousands of candidates most of the time goes into fetching memory. The squares are lost.
    """
    root = np.sqrt(np.multiply(squares, 5, out=squares), out=squares)
    covariance = np.square(root)
    covariance /= 3
    covariance += 1 + root
    covariance *= np.exp(np.subtract(log_variance, root, out=root), out=root)
    return covariance


def _matern_slope(squares: Floats, log_variance: float) -> Floats:
    """The covariance's derivative by the squared distance, of the same shape."""
    root = np.sqrt(5 * squares)
    return np.asarray(-(5 / 6) * (1 + root) * np.exp(log_variance - root))


def _negative_likelihood(theta: Floats, gaps: Floats, y: Floats) -> tuple[float, Floats]:
    """Minus the log marginal likelihood at theta [d + 2], and its gradient."""
    n = len(y)
    weights, noise = np.exp(theta[:-2]), np.exp(theta[-1])
    squares = np.tensordot(weights, gaps, axes=1)
    derivative = _matern_slope(squares, theta[-2])
    covariance = _matern(squares, theta[-2])
    noisy = covariance.copy()
    noisy[np.diag_indices(n)] += noise + _JITTER
    root = scipy.linalg.cholesky(noisy, lower=True, check_finite=False)
    inverse = scipy.linalg.cho_solve((root, True), np.eye(n), check_finite=False)
    alpha = inverse @ y
    outer = inverse - np.outer(alpha, alpha)
    by_weight = 0.5 * np.tensordot(gaps, outer * derivative, axes=2) * weights
    slope = np.concatenate([by_weight, [0.5 * (outer * covariance).sum(), 0.5 * noise * np.trace(outer)]])
    value = 0.5 * float(y @ alpha) + float(np.log(np.diag(root)).sum())
    return value, slope
