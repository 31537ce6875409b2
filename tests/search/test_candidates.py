"""Candidates stay in the space, step as far as they should, and keep away from what is running."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lab.response.encode import Encoding
from lab.search.candidates import among, apart, around, everywhere, sobol_point

ENCODING = Encoding(
    {
        "x": FloatDistribution(0, 1),
        "n": IntDistribution(1, 4),
        "c": CategoricalDistribution(("p", "q", "r")),
        "lr": FloatDistribution(1e-5, 1, log=True),
    }
)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16))
def test_all_candidates_are_points_of_the_space(seed: int):
    rng = np.random.default_rng(seed)
    centers = everywhere(ENCODING, 3, rng)
    for points in (centers, around(ENCODING, centers, 40, rng)):
        assert ((points >= 0) & (points <= 1)).all()
        np.testing.assert_array_equal(ENCODING.snap(points), points)


def test_steps_change_few_hyperparameters_or_all_and_choices_too():
    rng = np.random.default_rng(0)
    center = everywhere(ENCODING, 1, rng)
    steps = around(ENCODING, center, 2000, rng)
    changed = steps != center
    assert {1, 2, 4} <= set(changed.sum(axis=1).tolist())
    assert (changed.mean(axis=0) > 0.15).all()
    assert {tuple(ENCODING.values(step)[name] for name in ("n", "c")) for step in steps} == {
        (n, c) for n in range(1, 5) for c in "pqr"
    }


def test_a_missing_parameter_is_no_trouble():
    steps = around(ENCODING, np.array([[np.nan, 0.5, np.nan, 0.2]]), 10, np.random.default_rng(0))
    assert np.isfinite(steps).all()


def test_sobol_points_are_one_sequence():
    points = np.stack([sobol_point(3, index, seed=1) for index in range(8)])
    assert (np.histogram(points[:, 0], bins=8, range=(0, 1))[0] == 1).all()


def test_what_is_running_is_kept_away_from():
    points = np.array([[0.5, 0.5], [0.51, 0.5], [1.0, 1.0]])
    factor = apart(points, np.array([[0.5, 0.5]]))
    assert factor[0] == 0
    assert factor[1] < 0.01
    assert factor[2] > 0.99
    assert among(points, points[:1]).tolist() == [True, False, False]
