"""Costs on an even scale: order kept, decades told apart, outliers and divergence last, clusters left together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from scipy.stats import boxcox, boxcox_llf, yeojohnson, yeojohnson_llf

from lab.response.encode import Encoding
from lab.search.history import even_costs, read_history

SPACE = {"x": FloatDistribution(0, 1)}


@settings(max_examples=200, deadline=None)
@example([4.0, 5e-324])
@given(st.lists(st.floats(-1e12, 1e12) | st.just(float("inf")), min_size=1, max_size=40))
def test_the_order_is_kept_and_everything_is_finite(costs: list[float]):
    cost = np.array(costs)
    even = even_costs(cost)
    assert np.isfinite(even).all()
    assert (np.diff(even[np.argsort(cost, kind="stable")]) >= -1e-9).all()


def test_losses_that_span_decades_are_told_apart():
    even = even_costs(10.0 ** np.linspace(-5, 0, 41))
    gaps = np.diff(even[:21])
    assert gaps.min() > 0.3 * gaps.max()


def test_a_few_that_are_far_off_do_not_flatten_the_rest():
    rng = np.random.default_rng(0)
    good = 0.1 + 0.1 * rng.random(40)
    plain, spoilt = even_costs(good), even_costs(np.array([*good, 1e6, 1e9, np.inf]))
    assert np.ptp(spoilt[:40]) > 0.3 * np.ptp(plain)
    assert spoilt[40:].min() >= spoilt[:40].max()


def test_a_cluster_of_near_equal_trials_stays_together():
    cost = np.array([0.4, 0.9, 0.2, 0.7, 0.5, *(0.1 + 1e-4 * np.arange(20))])
    even = even_costs(cost)
    assert np.ptp(even[5:]) < 0.05 * np.ptp(even)


@pytest.mark.parametrize("sign", [1, -1], ids=["Box and Cox", "Yeo and Johnson"])
@pytest.mark.parametrize("seed", range(4))
def test_the_power_is_the_one_that_scipy_finds_likeliest(sign: int, seed: int):
    cost = sign * np.exp(np.random.default_rng(seed).normal(0, 0.3, 20))  # none is so far off that it is drawn up
    middle = float(np.median(cost))
    values = cost / middle if sign > 0 else (cost - middle) / cost.std()
    likelihood, power = (boxcox_llf, boxcox) if sign > 0 else (yeojohnson_llf, yeojohnson)
    best = max(np.linspace(-2, 2, 33), key=lambda one: likelihood(one, values))
    shaped = power(values, best)
    np.testing.assert_allclose(even_costs(cost), (shaped - shaped.mean()) / shaped.std(), rtol=1e-9)


@pytest.mark.parametrize(("cost", "expected"), [([0.5, 0.5], [0, 0]), ([1.0, np.inf], [-1, 1]), ([np.inf], [1])])
def test_where_there_is_nothing_to_shape(cost: list[float], expected: list[float]):
    assert even_costs(np.array(cost)).tolist() == expected


def test_who_teaches():
    def trial(state: TrialState, value: float | None = None, outcome: str = "", x: float = 0.5, **curve: float):
        return create_trial(
            state=state,
            value=value,
            params={"x": x},
            distributions=SPACE,
            user_attrs={"outcome": outcome},
            intermediate_values={int(k[1:]): v for k, v in curve.items()},
        )

    trials = [
        trial(TrialState.COMPLETE, 0.3),
        trial(TrialState.COMPLETE, float("inf")),
        trial(TrialState.PRUNED, None, e1=0.9, e3=0.7),
        trial(TrialState.PRUNED),
        trial(TrialState.FAIL, outcome="diverged"),
        trial(TrialState.FAIL),
        trial(TrialState.RUNNING, x=0.25),
    ]
    history = read_history(trials, Encoding(SPACE), StudyDirection.MINIMIZE)
    assert history.cost.tolist() == [0.3, np.inf, 0.7, np.inf]
    assert history.diverged.tolist() == [False, True, False, True]
    assert history.pending.tolist() == [[0.25]]
    worse = read_history(trials, Encoding(SPACE), StudyDirection.MAXIMIZE)
    assert worse.cost.tolist() == [-0.3, np.inf, -0.7, np.inf]


def test_trials_of_another_space_are_left_out():
    other = {"x": FloatDistribution(0, 9), "c": CategoricalDistribution(("p", "q"))}
    asked = Encoding({"x": FloatDistribution(0, 1), "c": CategoricalDistribution(("p", "r"))})
    trials = [
        create_trial(value=1.0, params=params, distributions=other)
        for params in ({"x": 0.5, "c": "p"}, {"x": 5.0, "c": "p"}, {"x": 0.5, "c": "q"})
    ]
    assert len(read_history(trials, asked, StudyDirection.MINIMIZE)) == 1
