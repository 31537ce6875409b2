"""The blend leans to the member that predicts unseen trials, and its improvement is the mixture's."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy.integrate import quad
from scipy.stats import norm

from lab.response.blend import MOST_FOR_GAUSSIAN, Blend, expected_improvement
from lab.response.encode import Encoding
from lab.response.forest import Prediction

ENCODING = Encoding({name: FloatDistribution(0, 1) for name in ("a", "b", "c")})


def test_expected_improvement_is_its_integral():
    improvement = expected_improvement(Prediction(np.array([0.3]), np.array([0.8])), best=0.1)[0]
    integral, _ = quad(lambda y: (0.1 - y) * norm.pdf(y, 0.3, 0.8), -10, 0.1)
    assert improvement == pytest.approx(integral, rel=1e-6)


def test_a_smooth_response_belongs_to_the_process():
    x = np.random.default_rng(0).random((60, 3))
    assert Blend(ENCODING, seed=0).fit(x, np.sin(4 * x[:, 0]) + x[:, 1] ** 2).share > 0.9


def test_steps_belong_to_the_forest():
    encoding = Encoding({**ENCODING.distributions, "d": CategoricalDistribution((0, 1))})
    rng = np.random.default_rng(0)
    x = rng.random((150, 4))
    y = np.where(x[:, 0] > 0.37, 3.0, 0.0) * (x[:, 3] > 0.5) + np.floor(8 * x[:, 1]) % 2 + 0.05 * rng.normal(size=150)
    assert Blend(encoding, seed=0).fit(encoding.snap(x), y).share < 0.6


def test_mean_and_improvement_are_the_mixtures():
    x = np.random.default_rng(0).random((40, 3))
    blend = Blend(ENCODING, seed=0).fit(x, x[:, 0])
    parts = blend.parts(x)
    assert sum(weight for weight, _ in parts) == pytest.approx(1)
    np.testing.assert_allclose(blend.predict(x).mean, sum(w * p.mean for w, p in parts))
    np.testing.assert_allclose(
        blend.improvement(x, 0.2), sum(w * expected_improvement(p, 0.2) for w, p in parts), rtol=1e-12
    )
    assert (blend.predict(x).std >= 0).all()


def test_of_many_trials_the_process_sees_the_best():
    x = np.random.default_rng(0).random((MOST_FOR_GAUSSIAN + 200, 3))
    y = (x[:, 0] - 0.5) ** 2
    blend = Blend(ENCODING, seed=0).fit(x, y)
    best = x[np.argsort(y)[:20]]
    assert blend.gaussian.predict(best).std.max() < 0.1
    assert 0 < blend.share < 1
