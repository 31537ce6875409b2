"""Several objectives as one: weights, distances, and a search that spreads over the front."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from lab.errors import SpecError
from lab.response.encode import Encoding
from lab.search import ForestSampler
from lab.search.by_name import sampler_source
from lab.search.history import History, read_history
from lab.search.trade_off import traded_off, weights_of
from lab.spec.outcomes import METRICS, OUTCOME

pytestmark = pytest.mark.usefixtures("quiet_optuna")

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def history(rows: list[tuple[float | None, float | None]]) -> History:
    """A history of trials with a score, None where it diverged, and a cost, None where it is not known."""
    trials = []
    for index, (score, cost) in enumerate(rows):
        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        attrs: dict[str, Any] = {OUTCOME: "diverged" if score is None else "completed"}
        attrs |= {} if cost is None else {METRICS: {"parameters": cost}}
        params = {"x": index / 10, "y": 0.5}
        trials.append(create_trial(state=state, value=score, params=params, distributions=SPACE, user_attrs=attrs))
    return read_history(trials, Encoding(SPACE), StudyDirection.MINIMIZE)


ROWS: list[tuple[float | None, float | None]] = [(0.1, 10_000), (0.2, 1_000), (0.4, 100), (0.9, 10), (0.8, 10_000)]


def test_the_distance_is_that_of_the_paper():
    """By hand: costs are 0 to 1 by their decades, scores as they are."""
    weights = np.array([0.3, 0.7])
    normed = np.array([[0, 1], [1 / 8, 2 / 3], [3 / 8, 1 / 3], [1, 0], [7 / 8, 1]])
    expected = (weights * normed).max(axis=1) + 0.05 * (weights * normed).sum(axis=1)
    np.testing.assert_allclose(traded_off(history(ROWS), ["parameters"], weights).cost, expected)


@pytest.mark.parametrize(("weights", "best"), [([1.0, 0.0], 0), ([0.0, 1.0], 3)])
def test_at_the_ends_one_objective_counts_alone(weights: list[float], best: int):
    assert traded_off(history(ROWS), ["parameters"], np.array(weights)).cost.argmin() == best


def test_what_no_weights_choose_is_dominated():
    best = {int(traded_off(history(ROWS), ["parameters"], weights_of(2, seed)).cost.argmin()) for seed in range(40)}
    assert len(best) > 1
    assert 4 not in best


def test_without_a_cost_a_trial_teaches_nothing_but_where_training_breaks():
    traded = traded_off(history([*ROWS, (0.05, None), (None, None)]), ["parameters"], np.array([0.5, 0.5]))
    assert len(traded) == len(traded.trials) == len(traded.units) == 6
    assert np.isinf(traded.cost).tolist() == [False] * 5 + [True]


@pytest.mark.parametrize(
    "rows",
    [[], [(None, None)], [(0.5, 10.0)], [(0.5, 10.0), (0.5, 10.0)], [(0.5, 0.0)], [(1e308, 5.0), (-1e308, 50.0)]],
)
def test_few_and_equal_trials_give_numbers(rows: list[tuple[float | None, float | None]]):
    traded = traded_off(history(rows), ["parameters"], np.array([0.5, 0.5]))
    assert not np.isnan(traded.cost).any()


def test_weights_are_even_over_all_that_add_up_to_one():
    drawn = np.array([weights_of(3, seed) for seed in range(2000)])
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    np.testing.assert_allclose(drawn.mean(axis=0), 1 / 3, atol=0.02)
    np.testing.assert_allclose(drawn.var(axis=0), 1 / 18, atol=0.005)  # of the Dirichlet distribution of three ones
    assert np.array_equal(weights_of(3, 5), weights_of(3, 5))


def _searched(costs: tuple[str, ...], trials: int = 22) -> optuna.Study:
    """Score x, cost 10 ** (4 - 4 x): only x trades off, and y = 0.5 is best for both."""
    study = optuna.create_study(sampler=ForestSampler(seed=1, startup=6, space=SPACE, costs=costs))
    for _ in range(trials):
        trial = study.ask(SPACE)
        x, off = trial.params["x"], abs(trial.params["y"] - 0.5)
        trial.set_user_attr(METRICS, {"parameters": 10 ** (4 - 4 * x + 2 * off)})
        study.tell(trial, x + off)
    return study


def test_proposals_spread_over_the_front_and_repeat():
    def far(study: optuna.Study) -> int:
        return len({round(trial.params["x"], 1) for trial in study.trials[10:]})

    both, alone = _searched(("parameters",)), _searched(())
    assert far(both) >= 2 * far(alone)
    assert [t.params for t in both.trials[:10]] == [t.params for t in _searched(("parameters",), 10).trials]


def test_a_warm_start_is_refused():
    observed = [create_trial(value=1.0, params={"x": 0.5, "y": 0.5}, distributions=SPACE)]
    with pytest.raises(SpecError, match=r"search.objectives: cannot start warm"):
        sampler_source({"kind": "forest"}, 0, SPACE, observed, costs=("parameters",))
