"""The Gaussian process against scikit-learn's at the same scales, its gradient, and what it makes of choices."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from lab.response.encode import Encoding
from lab.response.forest import Floats
from lab.response.gaussian import GaussianProcess, Scales, _negative_likelihood

ENCODING = Encoding({name: FloatDistribution(0, 1) for name in ("a", "b")})
SCALES = Scales(np.log([4.0, 0.5]), np.log(1.7), np.log(0.03))


@pytest.fixture(scope="module")
def data() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    x = rng.random((40, 2))
    return x, np.sin(5 * x[:, 0]) + x[:, 1] + 0.1 * rng.normal(size=40)


def test_at_given_scales_it_is_scikit_learns(data: tuple[Floats, Floats]):
    x, y = data
    z = (y - y.mean()) / y.std()
    kernel = ConstantKernel(1.7) * Matern([0.5, np.sqrt(2)], nu=2.5)
    reference = GaussianProcessRegressor(kernel, alpha=0.03 + 1e-6, optimizer=None).fit(x, z)
    at = np.random.default_rng(1).random((30, 2))
    mean, std = reference.predict(at, return_std=True)
    prediction = GaussianProcess(ENCODING).fit(x, y, SCALES).predict(at)
    np.testing.assert_allclose(prediction.mean, y.mean() + y.std() * mean, atol=1e-8)
    np.testing.assert_allclose(prediction.std, y.std() * std, atol=1e-6)


def test_its_likelihood_is_scikit_learns_and_its_gradient_is_right(data: tuple[Floats, Floats]):
    x, y = data
    z = (y - y.mean()) / y.std()
    gaps = np.stack([(x[:, [c]] - x[:, c][None]) ** 2 for c in range(2)])
    theta = np.array([*SCALES.weights, SCALES.variance, SCALES.noise])
    kernel = ConstantKernel(1.7) * Matern([0.5, np.sqrt(2)], nu=2.5) + WhiteKernel(0.03 + 1e-6)
    reference = GaussianProcessRegressor(kernel, alpha=1e-12, optimizer=None).fit(x, z)
    constant = 20 * np.log(2 * np.pi)
    value, slope = _negative_likelihood(theta, gaps, z)
    assert value + constant == pytest.approx(-reference.log_marginal_likelihood_value_, rel=1e-9)
    error = check_grad(
        lambda t: _negative_likelihood(t, gaps, z)[0], lambda t: _negative_likelihood(t, gaps, z)[1], theta
    )
    assert error < 1e-4 * np.linalg.norm(slope)


def test_what_it_says_of_a_left_out_trial_is_what_a_fit_without_it_says(data: tuple[Floats, Floats]):
    x, y = data
    whole = GaussianProcess(ENCODING).fit(x, y, SCALES).left_out()
    mean, std = y.mean(), y.std()
    for out in (0, 17, 39):
        kept = np.arange(40) != out
        kernel = ConstantKernel(1.7) * Matern([0.5, np.sqrt(2)], nu=2.5)
        reference = GaussianProcessRegressor(kernel, alpha=0.03 + 1e-6, optimizer=None)
        at, spread = reference.fit(x[kept], (y[kept] - mean) / std).predict(x[[out]], return_std=True)
        assert whole.mean[out] == pytest.approx(mean + std * at[0], abs=1e-8)
        assert whole.std[out] == pytest.approx(std * np.sqrt(spread[0] ** 2 + 0.03 + 1e-6), abs=1e-8)


def test_it_finds_the_noise_and_what_does_not_matter():
    rng = np.random.default_rng(0)
    x = rng.random((120, 2))
    process = GaussianProcess(ENCODING).fit(x, np.sin(6 * x[:, 0]) + 0.3 * rng.normal(size=120))
    assert process.noise == pytest.approx(0.3, rel=0.25)
    assert process.scales.weights[0] > process.scales.weights[1] + 2
    at = rng.random((200, 2))
    assert np.abs(process.predict(at).mean - np.sin(6 * at[:, 0])).mean() < 0.1


def test_options_of_a_choice_are_equally_far_and_a_missing_parameter_is_told_apart():
    encoding = Encoding({"c": CategoricalDistribution("pqr"), "x": FloatDistribution(0, 1)})
    units = encoding.units([{"c": "p", "x": 0.5}, {"c": "q", "x": 0.5}, {"c": "r", "x": 0.5}, {"c": "p"}] * 4)
    y = np.array([0.0, 1.0, -1.0, 5.0] * 4)
    means = GaussianProcess(encoding).fit(units, y).predict(units[:4]).mean
    np.testing.assert_allclose(means, [0, 1, -1, 5], atol=0.2)


def test_equal_scores_and_two_trials_are_no_trouble():
    x = np.array([[0.1, 0.2], [0.8, 0.9]])
    prediction = GaussianProcess(ENCODING).fit(x, np.ones(2)).predict(x)
    np.testing.assert_allclose(prediction.mean, 1)
    assert np.isfinite(prediction.std).all()
