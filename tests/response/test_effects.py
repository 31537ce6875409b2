"""Importances against known Sobol indices, partial dependence against scikit-learn's, and edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.inspection import partial_dependence as sklearn_partial_dependence

from lab.response.effects import crowded, edge, importances, partial_dependence, sobol
from lab.response.encode import Encoding
from lab.response.findings import Effect
from lab.response.forest import Floats, Forest, Prediction

ENCODING = Encoding({name: FloatDistribution(0, 1) for name in ("a", "b", "c")})
OPEN = Encoding({"a": FloatDistribution(0.5, 1.5)})
"""Neither end is one by nature."""


class _Exact(Forest):
    """A forest that has understood a function of the features completely."""

    def __init__(self, function: Callable[[Floats], Floats]) -> None:
        self._function = function

    def predict(self, features: Floats) -> Prediction:
        return Prediction(self._function(features), np.zeros(len(features)))


def test_importances_of_an_additive_function_are_its_shares_of_variance():
    shares = importances(_Exact(lambda x: 3 * x[:, 0] + 2 * x[:, 1] + 0 * x[:, 2]), ENCODING, seed=0, sample=4096)
    assert shares["a"] == pytest.approx(9 / 13, abs=0.03)
    assert shares["b"] == pytest.approx(4 / 13, abs=0.03)
    assert shares["c"] == 0


def test_an_interaction_counts_for_each_that_takes_part():
    """For (a - 1/2)(b - 1/2) the total index of both is 1."""
    shares = importances(_Exact(lambda x: (x[:, 0] - 0.5) * (x[:, 1] - 0.5)), ENCODING, seed=0, sample=4096)
    assert shares["a"] == pytest.approx(1, abs=0.05)
    assert shares["b"] == pytest.approx(1, abs=0.05)
    assert shares["c"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_no_share_is_more_than_all(seed: int):
    """In the good region of a ridge, which is a band, redrawing a parameter changes more than there is variance."""
    ridge = _Exact(lambda x: -np.abs(x[:, 0] - x[:, 1]))
    shares = importances(ridge, ENCODING, seed=seed, sample=256, best=0.25)
    assert 0.9 < max(shares.values()) <= 1.0
    assert shares["c"] == 0


def test_a_flat_response_has_no_importances():
    assert importances(_Exact(lambda x: np.full(len(x), 0.3)), ENCODING, seed=0) == {"a": 0, "b": 0, "c": 0}


def test_a_fitted_forest_finds_the_shares_of_variance():
    x = sobol(256, 3, seed=1)
    shares = importances(Forest(seed=0).fit(x, 3 * x[:, 0] + 2 * x[:, 1]), ENCODING, seed=0)
    assert shares["a"] == pytest.approx(9 / 13, abs=0.1)
    assert shares["b"] == pytest.approx(4 / 13, abs=0.1)
    assert shares["c"] < 0.02


def test_a_choice_counts_as_one_parameter():
    encoding = Encoding({"c": CategoricalDistribution(("p", "q", "r")), "x": FloatDistribution(0, 1)})
    shares = importances(_Exact(lambda f: 1.0 * f[:, 1]), encoding, seed=0, sample=4096)
    assert shares["c"] == pytest.approx(1, abs=0.05)
    assert shares["x"] == 0


def test_partial_dependence_is_scikit_learns_brute_force_over_the_space():
    x = sobol(128, 3, seed=1)
    y = 3 * x[:, 0] + np.sin(6 * x[:, 1])
    effect = partial_dependence(Forest(seed=0, trees=16).fit(x, y), ENCODING, "b", x, seed=5, grid=9, sample=64)
    same = ExtraTreesRegressor(16, min_samples_leaf=2, bootstrap=True, random_state=0).fit(x, y)
    base = sobol(64, 3, seed=5)
    reference = sklearn_partial_dependence(
        same, base, features=[1], method="brute", custom_values={1: np.linspace(0, 1, 9)}
    )
    np.testing.assert_allclose(effect.mean, reference["average"][0], rtol=1e-9)
    np.testing.assert_allclose(effect.values, np.linspace(0, 1, 9), atol=1e-12)
    assert all(low <= mean <= high for low, mean, high in zip(effect.low, effect.mean, effect.high, strict=True))


def test_support_counts_the_trials_near_each_point():
    history = np.array([[0.0, 0.5, 0.5], [0.02, 0.5, 0.5], [1.0, 0.5, 0.5], [np.nan, 0.5, 0.5]])
    forest = Forest(seed=0, trees=4).fit(np.nan_to_num(history, nan=-1), np.arange(4.0))
    assert partial_dependence(forest, ENCODING, "a", history, seed=0, grid=5, sample=8).support == (2, 0, 0, 0, 1)


def test_the_effect_of_a_choice_has_a_point_per_option():
    encoding = Encoding({"c": CategoricalDistribution(("p", "q", "r")), "x": FloatDistribution(0, 1)})
    points = [{"c": "pqr"[i % 3], "x": i / 30} for i in range(30)]
    units = encoding.units(points)
    forest = Forest(seed=0, trees=32).fit(
        encoding.features(units), np.array([{"p": 0, "q": 1, "r": 5}[p["c"]] for p in points])
    )
    effect = partial_dependence(forest, encoding, "c", units, seed=0)
    assert effect.values == ("p", "q", "r")
    assert effect.support == (10, 10, 10)
    assert effect.mean[2] > effect.mean[1] > effect.mean[0]


def test_single_settings_stand_beside_their_mean():
    x = sobol(128, 3, seed=1)
    forest = Forest(seed=0, trees=16).fit(x, x[:, 0] * x[:, 1])
    whole = partial_dependence(forest, ENCODING, "a", x, seed=0, grid=5, sample=16, curves=16)
    assert np.shape(whole.ice) == (16, 5)
    np.testing.assert_allclose(np.mean(whole.ice, axis=0), whole.mean, rtol=1e-9)
    base = sobol(16, 3, seed=0)[2]
    for unit, value in zip((0.0, 0.25, 0.5, 0.75, 1.0), whole.ice[2], strict=True):
        assert forest.predict(np.array([[unit, *base[1:]]])).mean[0] == pytest.approx(value)


def _effect(mean: Floats, band: float = 0.01) -> Effect:
    values = tuple(float(m) for m in mean)
    low, high = tuple(m - band / 2 for m in values), tuple(m + band / 2 for m in values)
    return Effect("a", tuple(np.linspace(0.5, 1.5, len(mean))), values, low, high, (1,) * len(mean))


GRID = np.linspace(0, 1, 21)


@pytest.mark.parametrize(
    ("mean", "direction", "expected"),
    [
        (GRID, "maximize", "high"),
        (GRID, "minimize", "low"),
        (-GRID, "maximize", "low"),
        (-((GRID - 0.5) ** 2), "maximize", None),
        (-((GRID - 0.96) ** 2), "maximize", "high"),
        (-((GRID - 0.85) ** 2), "maximize", None),
    ],
)
def test_an_optimum_at_the_edge_is_found(mean: Floats, direction: str, expected: str | None):
    assert edge(_effect(mean), OPEN, direction) == expected


@pytest.mark.parametrize(
    ("dist", "low", "high"),
    [
        (FloatDistribution(0, 1), None, None),
        (FloatDistribution(0, 0.6), None, "high"),
        (FloatDistribution(0.1, 0.6), "low", "high"),
        (FloatDistribution(1e-4, 1, log=True), "low", "high"),
        (IntDistribution(0, 8), None, "high"),
    ],
)
def test_zero_and_a_share_of_one_are_ends_and_no_edges(dist: BaseDistribution, low: str | None, high: str | None):
    encoding = Encoding({"a": dist})
    assert edge(_effect(-GRID), encoding, "maximize") == low
    assert edge(_effect(GRID), encoding, "maximize") == high
    units = np.linspace(0, 1, 60)[:, None]
    assert crowded(encoding, "a", units, 1.0 * np.arange(60)) is None
    assert crowded(encoding, "a", units * 0.04, 1.0 * np.arange(60)) == low
    assert crowded(encoding, "a", 1 - units * 0.04, 1.0 * np.arange(60)) == high


def test_a_few_trials_and_choices_are_no_crowd():
    assert crowded(ENCODING, "a", np.zeros((6, 3)), np.arange(6.0)) is None
    choices = Encoding({"a": CategoricalDistribution(("p", "q"))})
    assert crowded(choices, "a", np.zeros((60, 1)), np.arange(60.0)) is None


def test_an_edge_within_the_noise_and_a_choice_have_none():
    assert edge(_effect(GRID, band=2), OPEN, "maximize") is None
    choices = Encoding({"a": CategoricalDistribution(("p", "q"))})
    assert edge(replace(_effect(GRID[:2]), name="a"), choices, "maximize") is None


@pytest.mark.parametrize(("asked", "size"), [(1, 1), (2, 2), (5, 8), (256, 256)])
def test_a_sobol_sample_is_a_power_of_two(asked: int, size: int):
    points = sobol(asked, 3, seed=0)
    assert points.shape == (size, 3)
    np.testing.assert_array_equal(points, sobol(asked, 3, seed=0))


NESTED = Encoding(
    {"kind": CategoricalDistribution(("adamw", "sgd")), "momentum": FloatDistribution(0, 1)},
    {"momentum": {"kind": ("sgd",)}},
)


def test_effects_of_a_conditional_space_are_over_what_exists():
    units = NESTED.snap(sobol(256, 2, 0))
    sgd = units[:, 0] > 0.5
    cost = np.where(sgd, 1 + np.nan_to_num(units[:, 1]), 0.2)
    forest = Forest(0).fit(NESTED.features(units), cost)
    adamw, mean = partial_dependence(forest, NESTED, "kind", units, seed=0).mean
    assert adamw == pytest.approx(0.2, abs=0.02)
    assert mean == pytest.approx(1.5, abs=0.05)
    curve = partial_dependence(forest, NESTED, "momentum", units, seed=0).mean
    assert curve[-1] - curve[0] == pytest.approx(1, abs=0.15), "the mean over adamw, which has none, would halve it"
    assert importances(forest, NESTED, seed=0)["kind"] > 0.9


@pytest.mark.parametrize("most", [4, 8, 10, 12])
def test_the_last_of_few_whole_numbers_is_an_end(most: int):
    encoding = Encoding({"layers": IntDistribution(2, most)})
    units = encoding.units([{"layers": most}] * 10 + [{"layers": 3}] * 10)
    assert crowded(encoding, "layers", units, np.arange(20.0)) == "high"
    assert crowded(encoding, "layers", encoding.units([{"layers": 3}] * 20), np.arange(20.0)) is None
