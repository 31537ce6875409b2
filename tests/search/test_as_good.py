"""Settings as good as the best, where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lab.search.as_good import as_good_as_the_best
from lab.search.observed import as_trials
from lab.spec.trial import Observation, Outcome

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
STD = 0.1


def _trials(count: int, score: Callable[[float, float], float], diverges: float = 2.0) -> list[FrozenTrial]:
    """Scores with noise between seeds; a trial whose x is above `diverges` diverges."""
    rng = np.random.default_rng(0)
    trials = []
    for x, y in rng.random((count, 2)).tolist():
        said = score(x, y) + STD * rng.normal()
        broke = x > diverges
        trials.append(
            Observation(
                {"x": x, "y": y}, Outcome.DIVERGED if broke else Outcome.COMPLETED, math.nan if broke else said, {}
            )
        )
    return as_trials(trials, SPACE)


@pytest.mark.parametrize("direction", [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE])
def test_a_valley_is_as_wide_as_the_noise_lets_it_be(direction: StudyDirection):
    sign = 1 if direction is StudyDirection.MINIMIZE else -1
    region = as_good_as_the_best(_trials(80, lambda x, y: sign * 4 * (x - 0.5) ** 2), SPACE, direction, 0)
    assert region is not None
    x, y = region.sides
    assert y.whole, "it does not matter"
    low, high = x.values
    assert low < 0.5 < high
    truly = np.linspace(low, high, 101)
    worse = 4 * (truly - 0.5) ** 2 - 4 * (region.best["x"] - 0.5) ** 2
    assert (worse <= 1.5 * STD).mean() >= 0.9
    assert high - low > 0.1
    assert region.margin == pytest.approx(STD, rel=0.5)


def test_noise_alone_leaves_the_whole_space():
    region = as_good_as_the_best(_trials(60, lambda x, y: 0.0), SPACE, StudyDirection.MINIMIZE, 0)
    assert region is not None
    assert region.share > 0.8


def test_what_diverges_is_not_in_it():
    trials = _trials(80, lambda x, y: -0.1 * x, diverges=0.6)
    region = as_good_as_the_best(trials, SPACE, StudyDirection.MINIMIZE, 0)
    assert region is not None
    assert region.sides[0].values[1] <= 0.75


def test_too_few_or_equal_scores_say_nothing():
    assert as_good_as_the_best(_trials(5, lambda x, y: x), SPACE, StudyDirection.MINIMIZE, 0) is None
    equal = as_trials([Observation({"x": x, "y": x}, Outcome.COMPLETED, 1.0, {}) for x in (0.1, 0.5) * 10], SPACE)
    assert as_good_as_the_best(equal, SPACE, StudyDirection.MINIMIZE, 0) is None
