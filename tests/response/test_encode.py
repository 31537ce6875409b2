"""Values to numbers and back: nothing is lost on the way, and nothing leaves its distribution."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab.response.encode import INACTIVE, Encoding


@st.composite
def distribution_and_value(draw: st.DrawFn) -> tuple[BaseDistribution, Any]:
    kind = draw(st.sampled_from(["float", "log float", "float step", "int", "log int", "int step", "choice"]))
    if kind == "choice":
        choices = draw(st.lists(st.one_of(st.integers(), st.text(), st.floats(-9, 9)), min_size=1, unique=True))
        return CategoricalDistribution(choices), draw(st.sampled_from(choices))
    if kind == "float":
        ends = draw(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)))
        low, high = sorted(end + 0.0 for end in ends)  # no -0.0, which hypothesis refuses above 0.0
        return FloatDistribution(low, high), draw(st.floats(low, high))
    if kind == "log float":
        low, high = sorted(draw(st.tuples(st.floats(1e-12, 1e6), st.floats(1e-12, 1e6))))
        return FloatDistribution(low, high, log=True), draw(st.floats(low, high))
    if kind == "float step":
        count, step = draw(st.integers(0, 40)), draw(st.sampled_from([0.25, 0.5, 3.0]))
        low = draw(st.sampled_from([-1.0, 0.0, 0.5]))
        return FloatDistribution(low, low + count * step, step=step), low + draw(st.integers(0, count)) * step
    low_int = draw(st.integers(1, 10**6))
    if kind == "int step":
        count, step_int = draw(st.integers(0, 50)), draw(st.integers(1, 9))
        dist = IntDistribution(low_int, low_int + count * step_int, step=step_int)
        return dist, low_int + draw(st.integers(0, count)) * step_int
    high_int = draw(st.integers(low_int, 10**9))
    return IntDistribution(low_int, high_int, log=kind == "log int"), draw(st.integers(low_int, high_int))


@settings(max_examples=300, deadline=None)
@given(distribution_and_value())
def test_a_value_comes_back_from_the_unit_cube(pair: tuple[BaseDistribution, Any]):
    dist, value = pair
    encoding = Encoding({"x": dist})
    units = encoding.units([{"x": value}])
    assert 0 <= units[0, 0] <= 1
    back = encoding.values(units[0])["x"]
    if isinstance(dist, FloatDistribution):
        assert math.isclose(back, value, rel_tol=1e-9, abs_tol=1e-9 * max(1, dist.high - dist.low))
    else:
        assert back == value
        assert type(back) is type(value)


@settings(max_examples=300, deadline=None)
@given(distribution_and_value(), st.floats(0, 1))
def test_every_point_of_the_cube_is_a_value_of_the_distribution(pair: tuple[BaseDistribution, Any], unit: float):
    dist, _ = pair
    encoding = Encoding({"x": dist})
    value = encoding.values(np.array([unit]))["x"]
    assert dist._contains(dist.to_internal_repr(value))
    snapped = encoding.snap(np.array([[unit]]))
    assert encoding.values(snapped[0])["x"] == value
    if not isinstance(dist, FloatDistribution) or dist.step:
        np.testing.assert_array_equal(snapped, encoding.units([{"x": value}]))


def test_each_whole_number_and_each_choice_has_an_equal_share():
    encoding = Encoding({"n": IntDistribution(1, 4), "c": CategoricalDistribution("abc")})
    units = (np.arange(1200) + 0.5) / 1200
    values = [encoding.values(np.array([u, u])) for u in units]
    assert set(Counter(v["n"] for v in values).values()) == {300}
    assert set(Counter(v["c"] for v in values).values()) == {400}


def test_a_log_scale_is_even_in_ratios():
    encoding = Encoding({"x": FloatDistribution(1e-4, 1.0, log=True)})
    units = encoding.units([{"x": x} for x in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)])[:, 0]
    np.testing.assert_allclose(units, [0, 0.25, 0.5, 0.75, 1], atol=1e-12)


def test_features_are_one_column_a_number_and_one_per_choice():
    encoding = Encoding(
        {"x": FloatDistribution(0, 1), "c": CategoricalDistribution("abc"), "y": FloatDistribution(0, 2)}
    )
    units = encoding.units([{"x": 0.25, "c": "b", "y": 2}, {"x": 1, "c": "c", "y": 0}])
    np.testing.assert_array_equal(encoding.features(units), [[0.25, 0, 1, 0, 1], [1, 0, 0, 1, 0]])
    assert encoding.columns == (("x", slice(0, 1)), ("c", slice(1, 4)), ("y", slice(4, 5)))


def test_a_parameter_that_a_trial_does_not_have_is_told_apart():
    encoding = Encoding({"x": FloatDistribution(0, 1), "c": CategoricalDistribution("ab")})
    units = encoding.units([{}, {"x": 0.0}, {"c": "a"}])
    np.testing.assert_array_equal(np.isnan(units), [[True, True], [False, True], [True, False]])
    np.testing.assert_array_equal(encoding.features(units), [[INACTIVE, 0, 0], [0, 0, 0], [INACTIVE, 1, 0]])


def test_no_points_and_single_values_are_no_trouble():
    encoding = Encoding({"x": FloatDistribution(2, 2), "n": IntDistribution(5, 5), "c": CategoricalDistribution("a")})
    assert encoding.units([]).shape == (0, 3)
    assert encoding.values(np.array([0.0, 1.0, 1.0])) == {"x": 2, "n": 5, "c": "a"}
    np.testing.assert_array_equal(encoding.units([{"x": 2, "n": 5, "c": "a"}]), [[0.5, 0.5, 0.5]])


def test_what_does_not_exist_at_a_point_is_nan_also_below_what_does_not_exist():
    space: dict[str, BaseDistribution] = {
        "layers": IntDistribution(1, 3),
        "units": FloatDistribution(0, 1),
        "gate": CategoricalDistribution(("on", "off")),
        "width": FloatDistribution(0, 1),
    }
    when = {"units": {"layers": (2, 3)}, "gate": {"layers": (3,)}, "width": {"gate": ("on",), "gone": (1,)}}
    encoding = Encoding(space, when)
    points = np.array([[0.1, 0.5, 0.2, 0.5], [0.5, 0.5, 0.2, 0.5], [0.9, 0.5, 0.2, 0.5], [0.9, 0.5, 0.8, 0.5]])
    there = [["layers"], ["layers", "units"], list(space), ["layers", "units", "gate"]]
    for point, names in zip(encoding.snap(points), there, strict=True):
        assert list(encoding.values(point)) == names
        assert np.array_equal(encoding.units([encoding.values(point)])[0], point, equal_nan=True)
    assert not np.isnan(points).any(), "what was given stays as it is"
