"""An interval ends where its metric does."""

from __future__ import annotations

import math

import pytest

from lab.stages.statistics import mean_interval
from lab.tasks.limits import limits


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("accuracy", [0.0, 1.0], (0, 1)),
        ("accuracy", [97.0, 98.5], (-math.inf, math.inf)),  # a user's, in per cent
        ("rmse", [3.0], (0, math.inf)),
        ("reward", [0.5], (-math.inf, math.inf)),
        ("accuracy_topic", [0.5], (0, 1)),  # of one of several targets
        ("rmse_price", [3.0], (0, math.inf)),
    ],
)
def test_a_known_metric_has_limits_while_its_values_keep_to_them(
    metric: str, values: list[float], expected: tuple[float, float]
):
    assert limits(metric, values) == expected


def test_the_interval_of_a_perfect_score_does_not_promise_more():
    scores = [0.99, 1.0, 1.0]
    bounded, free = mean_interval(scores, "accuracy"), mean_interval(scores, "reward")
    assert bounded.high == 1.0 < free.high
    assert bounded.low == free.low > 0.97
    assert mean_interval([0.001, 0.2], "nll").low == 0.0


def test_equal_values_have_the_interval_of_values_like_them_or_none() -> None:
    alone = mean_interval([0.9, 0.9], "accuracy")
    assert (alone.mean, alone.std, alone.low, alone.high, alone.n) == (0.9, 0.0, None, None, 2)
    like = mean_interval([0.9, 0.9], "accuracy", spread=(0.02, 4))
    half = 2.7764451 * 0.02 / 2**0.5
    assert (like.low, like.high) == pytest.approx((0.9 - half, 0.9 + half))
    assert mean_interval([0.8, 0.9], "accuracy", spread=(0.5, 40)) == mean_interval([0.8, 0.9], "accuracy")
    assert mean_interval([0.9], "accuracy", spread=(0.02, 4)).low is None
