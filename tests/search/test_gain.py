"""What a further trial may gain, where the answer is known: much on a slope, nothing in noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lab.search.gain import gain_of_next
from lab.search.observed import as_trials
from lab.spec.trial import Observation, Outcome

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0, 1),
    "y": FloatDistribution(0, 1),
    "k": CategoricalDistribution(("p", "q")),
}


def trials_of(
    count: int, score: Callable[[float, float, np.random.Generator], float], seed: int = 0
) -> list[FrozenTrial]:
    rng = np.random.default_rng(seed)
    observations = []
    for number in range(count):
        x, y = rng.random(2).tolist()
        observations.append(
            Observation({"x": x, "y": y, "k": "pq"[number % 2]}, Outcome.COMPLETED, score(x, y, rng), {})
        )
    return as_trials(observations, SPACE)


def test_a_smooth_slope_that_has_hardly_been_looked_at_is_worth_going_on():
    gain = gain_of_next(trials_of(20, lambda x, y, _: (x - 2) ** 2 + (y + 1) ** 2), SPACE, StudyDirection.MINIMIZE, 0)
    assert gain is not None
    assert not gain.below_noise
    assert gain.expected > 0.05


@pytest.mark.parametrize("direction", StudyDirection.__members__.values())
def test_noise_alone_is_not(direction: StudyDirection):
    if direction is StudyDirection.NOT_SET:
        return
    gain = gain_of_next(trials_of(60, lambda x, y, rng: rng.normal()), SPACE, direction, 0)
    assert gain is not None
    assert gain.below_noise
    assert gain.noise > 0.5


def test_the_noise_is_that_between_seeds():
    """Half of the variance is noise."""
    std = math.sqrt(1 / 12)
    gain = gain_of_next(trials_of(120, lambda x, y, rng: x + std * rng.normal()), SPACE, StudyDirection.MINIMIZE, 0)
    assert gain is not None
    assert gain.noise == pytest.approx(math.sqrt(0.5), rel=0.25)


def test_equal_scores_leave_nothing_to_gain():
    gain = gain_of_next(trials_of(40, lambda x, y, _: 0.5), SPACE, StudyDirection.MAXIMIZE, 0)
    assert gain is not None
    assert gain.below_noise


def test_too_few_trials_diverged_ones_and_a_single_point_tell_nothing():
    few = trials_of(15, lambda x, y, _: x)
    assert gain_of_next(few, SPACE, StudyDirection.MINIMIZE, 0) is None
    broken = as_trials([Observation({"x": 0.1, "y": 0.2, "k": "p"}, Outcome.DIVERGED, None, {})] * 40, SPACE)
    assert gain_of_next([*few, *broken], SPACE, StudyDirection.MINIMIZE, 0) is None
    point: dict[str, BaseDistribution] = {"x": FloatDistribution(0.5, 0.5)}
    one = as_trials([Observation({"x": 0.5}, Outcome.COMPLETED, 0.1, {})] * 40, point)
    assert gain_of_next(one, point, StudyDirection.MINIMIZE, 0) is None


def test_the_same_trials_tell_the_same():
    trials = trials_of(30, lambda x, y, rng: x + 0.1 * rng.normal())
    first, second = (gain_of_next(trials, SPACE, StudyDirection.MINIMIZE, 3) for _ in range(2))
    assert first == second
