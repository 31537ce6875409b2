"""An even search cannot be told from the space; one that kept to a corner can, and by what."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from lab.response.encode import Encoding
from lab.response.extrapolation import THIN, Reach

ENCODING = Encoding(
    {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1), "k": CategoricalDistribution(("p", "q"))}
)


@pytest.mark.parametrize("count", [32, 500])
def test_an_even_search_cannot_be_told_from_the_space(count: int):
    reading = Reach(ENCODING, ENCODING.snap(np.random.default_rng(0).random((count, 3))), seed=0).read()
    assert 0.5 <= reading.auc < 0.62
    assert reading.thin_share < 0.2


@pytest.mark.parametrize("count", [32, 500])
def test_a_search_that_kept_to_a_corner_is_told_by_where_it_kept_to(count: int):
    units = ENCODING.snap(np.random.default_rng(0).random((count, 3)))
    units[:, 0] *= 0.2
    reach = Reach(ENCODING, units, seed=0)
    reading = reach.read()
    assert reading.auc > 0.75
    assert max(reading.by, key=lambda name: reading.by[name]) == "a"
    assert sum(reading.by.values()) == pytest.approx(1)
    assert 0.4 < reading.thin_share < 0.9
    inside, outside = reach.density(np.array([[0.1, 0.5, 0.25], [0.8, 0.5, 0.25]]))
    assert outside < THIN < 1 < inside


def test_a_single_trial_and_one_that_lacks_a_parameter_are_no_trouble():
    reading = Reach(ENCODING, np.array([[0.1, np.nan, 0.25]]), seed=0).read()
    assert 0.5 <= reading.auc <= 1
    assert 0 <= reading.thin_share <= 1


def test_what_does_not_exist_was_not_left_out():
    space = {"k": CategoricalDistribution(("p", "q")), "a": FloatDistribution(0, 1)}
    encoding = Encoding(space, {"a": {"k": ("q",)}})
    reading = Reach(encoding, encoding.snap(np.random.default_rng(0).random((400, 2))), seed=0).read()
    assert reading.auc < 0.62
    assert reading.thin_share < 0.2
