"""Interactions against functions whose shares are known, and surfaces against the function itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from lab.response.effects import sobol
from lab.response.encode import Encoding
from lab.response.forest import Floats, Forest, Prediction
from lab.response.interactions import interactions, surface

ENCODING = Encoding({name: FloatDistribution(0, 1) for name in ("a", "b", "c")})


class _Exact(Forest):
    """A forest that has understood a function of the features completely."""

    def __init__(self, function: Callable[[Floats], Floats]) -> None:
        self._function = function

    def predict(self, features: Floats) -> Prediction:  # type: ignore[override]
        return Prediction(self._function(features), np.zeros(len(features)))


def test_a_sum_of_effects_has_no_interaction():
    exact = _Exact(lambda x: 3 * x[:, 0] + np.sin(6 * x[:, 1]) + x[:, 2] ** 2)
    for pair in interactions([exact], ENCODING, ENCODING.names, seed=0):
        assert pair.h == pytest.approx(0, abs=1e-7)
        assert pair.share == pytest.approx(0, abs=1e-12)


def test_a_product_of_centred_effects_is_nothing_but_interaction():
    """For (a - 1/2)(b - 1/2) + c: variance 1/144 + 1/12, so the pair's share is 1/13."""
    exact = _Exact(lambda x: (x[:, 0] - 0.5) * (x[:, 1] - 0.5) + x[:, 2])
    first, *others = interactions([exact], ENCODING, ENCODING.names, seed=0, sample=256)
    assert first.names == ("a", "b")
    assert first.h == pytest.approx(1, abs=0.02)
    assert first.share == pytest.approx(1 / 13, rel=0.1)
    assert all(other.share < 1e-3 for other in others)


def test_h_is_that_of_its_definition():
    """For a * b: PD is ab / 1, a / 2, b / 2, so H^2 = (1/144) / (7/144)."""
    pairs = interactions([_Exact(lambda x: x[:, 0] * x[:, 1])], ENCODING, ("a", "b"), seed=0, sample=256)
    assert pairs[0].h == pytest.approx(np.sqrt(1 / 7), rel=0.05)


def test_a_fitted_forest_finds_the_pair_and_its_interval_holds_the_share():
    rng = np.random.default_rng(0)
    x = rng.random((300, 3))
    y = (x[:, 0] - 0.5) * (x[:, 1] - 0.5) * 8 + x[:, 2] + 0.05 * rng.normal(size=300)
    again = [Forest(0).fit(x, y), *(Forest(0).fit(x[r], y[r]) for r in (rng.integers(300, size=300) for _ in range(4)))]
    first, second, _ = interactions(again, ENCODING, ENCODING.names, seed=0)
    assert first.names == ("a", "b")
    assert first.low <= first.share <= first.high
    assert first.low > 3 * second.high


def test_a_flat_response_and_a_single_hyperparameter_have_none():
    flat = _Exact(lambda x: np.full(len(x), 0.3))
    assert [(pair.h, pair.share) for pair in interactions([flat], ENCODING, ENCODING.names, seed=0)] == [(0, 0)] * 3
    assert interactions([flat], ENCODING, ("a",), seed=0) == []


def test_a_surface_is_the_mean_over_the_others_and_knows_where_the_trials_lie():
    encoding = Encoding({**ENCODING.distributions, "k": CategoricalDistribution(("p", "q"))})
    exact = _Exact(lambda x: x[:, 0] * (x[:, 4] == 1) + x[:, 2])
    history = encoding.units([{"a": 0.0, "b": 0.5, "c": 0.5, "k": "p"}, {"a": 1.0, "b": 0.5, "c": 0.5, "k": "q"}])
    plane = surface(exact, encoding, ("a", "k"), history, seed=0, grid=5, sample=256)
    assert plane.x == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert plane.y == ("p", "q")
    np.testing.assert_allclose(plane.mean, [[0.5] * 5, 0.5 + np.linspace(0, 1, 5)], atol=0.01)
    assert plane.support == ((1, 1, 0, 0, 0), (0, 0, 0, 1, 1))


def test_the_same_seed_finds_the_same():
    x = sobol(64, 3, seed=1)
    forest = Forest(0).fit(x, x[:, 0] * x[:, 1])
    assert interactions([forest], ENCODING, ("a", "b"), seed=3) == interactions([forest], ENCODING, ("a", "b"), seed=3)
