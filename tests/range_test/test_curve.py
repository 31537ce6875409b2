"""Smoothing and stopping: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from lab.range_test import smooth, stop_step
from lab.range_test.curve import SETTLED


def test_smoothing_leaves_a_constant_as_it_is():
    np.testing.assert_allclose(smooth([3.0] * 20), 3.0, rtol=1e-12)


def test_smoothing_is_the_debiased_exponential_average():
    losses = [4.0, 2.0, 1.0]
    weights = [np.array([0.5 ** (i - j) for j in range(i + 1)]) for i in range(3)]
    expected = [float(w @ np.array(losses[: len(w)]) / w.sum()) for w in weights]
    np.testing.assert_allclose(smooth(losses, beta=0.5), expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_smoothed_losses_are_infinite_from_the_first_that_is_not_finite(bad: float):
    smoothed = smooth([1.0, 1.0, bad, 1.0])
    assert np.isfinite(smoothed[:2]).all()
    assert np.isinf(smoothed[2:]).all()


def test_a_run_stops_at_the_first_step_above_the_multiple_of_its_best():
    settled = [2.0] * SETTLED
    assert stop_step(np.array([*settled, 1.0, 3.9, 4.1, 1.0]), 4.0) == SETTLED + 2
    assert stop_step(np.array([*settled, 1.0, 4.0]), 4.0) is None


def test_the_luck_of_a_first_batch_stops_nothing():
    assert stop_step(np.array([0.1, 3.0, *np.linspace(3.0, 2.0, SETTLED - 2), 2.0, 2.1]), 4.0) is None


@pytest.mark.parametrize("first_bad", [0, 1, 5])
def test_a_run_stops_where_its_loss_is_not_finite_even_at_its_first_step(first_bad: int):
    losses = np.ones(8)
    losses[first_bad:] = np.nan
    assert stop_step(smooth(losses), 4.0) == first_bad


def test_a_loss_below_zero_may_fall_without_being_stopped():
    assert stop_step(np.linspace(-1.0, -3.0, 20), 4.0) is None
    assert stop_step(np.array([*[-1.0] * SETTLED, -2.0, 3.0, 5.0]), 4.0) == SETTLED + 2
