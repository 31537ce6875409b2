"""Pruned scores teach as what they are: scores of shorter runs."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from lab.response.encode import Encoding
from lab.search import ForestSampler
from lab.search.fidelity import FIDELITY, lessons
from lab.search.history import read_history

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
ENCODING = Encoding(SPACE)


def _trial(x: float, curve: dict[int, float], *, pruned: bool = False) -> FrozenTrial:
    state = TrialState.PRUNED if pruned else TrialState.COMPLETE
    value = None if pruned else curve[max(curve)]
    return create_trial(state=state, value=value, params={"x": x}, distributions=SPACE, intermediate_values=curve)


def test_without_pruning_a_trial_is_a_row():
    history = read_history([_trial(0.2, {1: 3.0, 9: 1.0})], ENCODING, StudyDirection.MINIMIZE)
    taught = lessons(history, ENCODING, 1.0)
    assert taught.encoding is ENCODING
    assert taught.cost.tolist() == [1.0]
    np.testing.assert_array_equal(taught.at_full(np.array([[0.3]])), [[0.3]])


def test_a_pruned_score_is_compared_with_the_others_at_its_epoch():
    trials = [_trial(0.2, {1: 3.0, 3: 2.0, 9: 1.0}), _trial(0.7, {1: 5.0, 3: 4.0}, pruned=True)]
    history = read_history(trials, ENCODING, StudyDirection.MINIMIZE)
    taught = lessons(history, ENCODING, 1.0)
    assert taught.encoding.names == ("x", FIDELITY)
    third = np.log(4) / np.log(10)
    np.testing.assert_allclose(taught.units, [[0.2, third], [0.2, 1.0], [0.7, third]])
    assert taught.cost.tolist() == [2.0, 1.0, 4.0]
    np.testing.assert_array_equal(taught.at_full(np.array([[0.3]])), [[0.3, 1.0]])
    assert taught.dimensions == 1


def test_costs_are_negated_where_scores_are_maximised():
    trials = [_trial(0.2, {1: 0.5, 2: 0.9}), _trial(0.7, {1: 0.3}, pruned=True)]
    history = read_history(trials, ENCODING, StudyDirection.MAXIMIZE)
    assert lessons(history, ENCODING, -1.0).cost.tolist() == [-0.5, -0.9, -0.3]


def test_scores_that_fall_with_the_epochs_do_not_mislead_the_search():
    """Every run looks ten times worse at its first epoch, where half of them are pruned."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=space, startup=8))
    for number in range(32):
        trial = study.ask(space)
        loss = 0.1 + (trial.params["x"] - 0.8) ** 2 + (trial.params["y"] - 0.2) ** 2
        trial.report(10 * loss, 1)
        if number % 2:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.report(loss, 9)
            study.tell(trial, loss)
    assert study.best_value < 0.11
