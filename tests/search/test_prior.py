"""A prior draws the search to where it points, and fades."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from lab.response.encode import Encoding
from lab.search import ForestSampler
from lab.search.prior import Prior

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "x": FloatDistribution(0, 1),
    "c": CategoricalDistribution(("p", "q")),
}
ENCODING = Encoding(SPACE)
PRIOR = Prior({"lr": {"center": 1e-3, "spread": 0.1}})


def test_points_follow_the_bell_and_stay_in_the_cube():
    even = np.random.default_rng(0).random((4000, 3))
    moved = PRIOR.points(ENCODING, even)
    assert moved[:, 0].mean() == pytest.approx(0.25, abs=0.01)
    assert moved[:, 0].std() == pytest.approx(0.1, abs=0.01)
    assert ((moved >= 0) & (moved <= 1)).all()
    np.testing.assert_array_equal(moved[:, 1:], even[:, 1:])


def test_its_weight_fades_with_the_trials():
    points = np.array([[0.25, 0.5, 0.5], [0.75, 0.5, 0.5]])
    early, late = PRIOR.weight(ENCODING, points, 10), PRIOR.weight(ENCODING, points, 10_000)
    np.testing.assert_allclose(early, [1, np.exp(-0.5 * 25)])
    assert late[1] > 0.98


def test_a_center_outside_and_names_that_the_space_lacks():
    prior = Prior({"lr": {"center": 50.0}, "gone": {"center": 1}, "c": {"center": 0}})
    weight = prior.weight(ENCODING, np.array([[1.0, 0.5, 0.5], [0.0, 0.5, 0.5]]), 10)
    assert weight[0] == 1
    assert weight[1] < 1e-6


@pytest.mark.parametrize(
    "content",
    [
        {"lr": 3},
        {"lr": {}},
        {"lr": {"center": 1, "width": 2}},
        {"lr": {"center": 1, "spread": 0}},
        {"lr": {"center": "x"}},
    ],
)
def test_what_is_no_prior_is_refused(content: Any):
    with pytest.raises(ValueError, match="prior"):
        Prior(content)


def test_the_search_starts_near_the_prior_and_is_not_held_there():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = ForestSampler(seed=0, space=SPACE, prior={"lr": {"center": 1e-3, "spread": 0.1}})
    study = optuna.create_study(sampler=sampler)
    rates = []
    for _ in range(40):
        trial = study.ask(SPACE)
        rates.append(trial.params["lr"])
        study.tell(trial, (np.log10(trial.params["lr"]) + 0.5) ** 2)
    assert np.mean([3e-4 < rate < 3e-3 for rate in rates[:16]]) > 0.4
    assert study.best_params["lr"] > 0.1
