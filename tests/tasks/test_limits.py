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
    found, free = mean_interval(scores, "accuracy"), mean_interval(scores, "reward")
    assert found.high == 1.0 < free.high
    assert found.low == free.low > 0.97
    assert mean_interval([0.001, 0.2], "nll").low == 0.0
