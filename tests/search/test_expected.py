"""The setting that is expected to be the best, where the truth is known: a lucky score is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lab.search.expected import by_expectation
from lab.search.observed import as_trials
from lab.spec.trial import Observation, Outcome

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
BEST = 0.3


def bowl(count: int, std: float = 0.0, seed: int = 0, sign: float = 1.0) -> list[FrozenTrial]:
    """Trials of a bowl in x; y does nothing."""
    rng = np.random.default_rng(seed)
    points = rng.random((count, 2)).tolist()
    scores = [sign * ((x - BEST) ** 2 + std * rng.normal()) for x, _ in points]
    return as_trials([one(x, y, score) for (x, y), score in zip(points, scores, strict=True)], SPACE)


def one(x: float, y: float, score: float | None, outcome: Outcome = Outcome.COMPLETED) -> Observation:
    return Observation({"x": x, "y": y}, outcome, score, {})


@pytest.mark.parametrize(("direction", "sign"), [(StudyDirection.MINIMIZE, 1.0), (StudyDirection.MAXIMIZE, -1.0)])
def test_a_lucky_score_far_from_the_others_like_it_is_not_taken(direction: StudyDirection, sign: float) -> None:
    trials = [*bowl(40, std=0.01, sign=sign), *as_trials([one(0.95, 0.5, -0.05 * sign)], SPACE)]
    best = by_expectation(trials, SPACE, direction, seed=0)[0]
    assert best.params["x"] == pytest.approx(BEST, abs=0.15)
    assert sign * best.score > -0.05, "what is expected of the best is less than what luck has shown"


def test_over_many_searches_it_is_worth_more_than_the_best_observed_score() -> None:
    lost = []
    for seed in range(6):
        trials = bowl(48, std=0.05, seed=seed)
        best = by_expectation(trials, SPACE, StudyDirection.MINIMIZE, seed)[0]
        observed = min(trials, key=lambda trial: trial.value or 0.0)
        lost.append([(params["x"] - BEST) ** 2 for params in (best.params, observed.params)])
    expected, observed_best = np.mean(lost, axis=0)
    assert expected < observed_best


def test_without_noise_it_is_one_of_the_best() -> None:
    trials = bowl(40)
    best, *others = by_expectation(trials, SPACE, StudyDirection.MINIMIZE, seed=0)
    assert sorted([best, *others], key=lambda one: one.score) == [best, *others], "the best first"
    assert len(others) == 39
    assert (best.params["x"] - BEST) ** 2 <= sorted(trial.value or 0.0 for trial in trials)[2]


def test_the_same_trials_have_the_same() -> None:
    first, again = (by_expectation(bowl(30, std=0.05), SPACE, StudyDirection.MINIMIZE, seed=0) for _ in range(2))
    assert first == again


def test_another_study_s_trials_teach_and_are_not_chosen() -> None:
    others = bowl(40, seed=1)
    own = as_trials([one(0.9 + 0.004 * i, 0.5, 0.3 + 0.01 * i) for i in range(24)], SPACE)
    ranking = by_expectation(own, SPACE, StudyDirection.MINIMIZE, 0, observed=others)
    assert len(ranking) == 24
    assert all(one.params["x"] >= 0.9 for one in ranking)


def test_those_that_diverged_or_were_stopped_early_are_not_chosen() -> None:
    ended = [
        Observation({"x": BEST, "y": 0.5}, Outcome.DIVERGED, None, {}),
        Observation({"x": BEST, "y": 0.6}, Outcome.PRUNED, None, {1: 0.0}),
    ]
    ranking = by_expectation([*bowl(24), *as_trials(ended, SPACE)], SPACE, StudyDirection.MINIMIZE, 0)
    assert not {0.5, 0.6} & {one.params["y"] for one in ranking}


def test_nothing_is_said_of_few_trials_or_a_single_point() -> None:
    assert by_expectation(bowl(23), SPACE, StudyDirection.MINIMIZE, 0) == []
    assert by_expectation([], SPACE, StudyDirection.MINIMIZE, 0) == []
    point: dict[str, BaseDistribution] = {"x": FloatDistribution(0.5, 0.5)}
    assert by_expectation([], point, StudyDirection.MINIMIZE, 0) == []


def test_equal_scores_are_no_trouble() -> None:
    trials = as_trials([one(i / 24, 0.5, 0.25) for i in range(24)], SPACE)
    best = by_expectation(trials, SPACE, StudyDirection.MAXIMIZE, 0)[0]
    assert best.score == pytest.approx(0.25)
