"""Trials are stopped at rungs only, by what the history says their final score will be."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from lab.search import ForestPruner
from lab.search.forecast import Forecast, rungs

SPACE: dict[str, BaseDistribution] = {"lr": FloatDistribution(0, 1), "kind": CategoricalDistribution(("a", "b"))}
EPOCHS = 9


def _curve(lr: float) -> list[float]:
    """The higher the rate, the worse the score looks until the end, and the better it is there."""
    return [1 - lr] * (EPOCHS - 1) + [lr]


def _study(direction: str = "maximize", trials: int = 32, pruner: ForestPruner | None = None) -> optuna.Study:
    """A study of complete trials whose early scores mislead."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=direction, pruner=pruner or ForestPruner(EPOCHS))
    sign = 1 if direction == "maximize" else -1
    for lr in np.linspace(0, 1, trials).tolist():
        curve = {epoch: sign * score for epoch, score in enumerate(_curve(lr), start=1)}
        params = {"lr": lr, "kind": "a"}
        study.add_trial(
            create_trial(value=curve[EPOCHS], params=params, distributions=SPACE, intermediate_values=curve)
        )
    return study


def _stopped_at(study: optuna.Study, lr: float, sign: float = 1, kind: str = "a") -> int | None:
    """The epoch at which a new trial is stopped."""
    study.enqueue_trial({"lr": lr, "kind": kind})
    trial = study.ask(SPACE)
    for epoch, score in enumerate(_curve(lr), start=1):
        trial.report(sign * score, epoch)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return epoch
    study.tell(trial, sign * lr)
    return None


@pytest.mark.parametrize(
    ("epochs", "first", "factor", "expected"),
    [(27, 1, 3, (1, 3, 9)), (27, 2, 3, (3, 9)), (6, 1, 3, (2,)), (16, 1, 2, (1, 2, 4, 8)), (2, 1, 3, ())],
)
def test_rungs_are_shares_of_a_whole_trial(epochs: int, first: int, factor: int, expected: tuple[int, ...]):
    assert rungs(epochs, first, factor) == expected


@given(st.integers(1, 1000), st.integers(1, 50), st.integers(2, 6))
def test_rungs_rise_and_lie_between_the_first_and_the_end(epochs: int, first: int, factor: int):
    levels = rungs(epochs, first, factor)
    assert all(a * factor <= b for a, b in itertools.pairwise([*levels, epochs]))
    assert all(first <= rung < epochs for rung in levels)


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_it_is_the_forecast_that_counts_and_not_the_early_score(direction: str, sign: float):
    study = _study(direction)
    assert _stopped_at(study, 0.95, sign) is None, "looks worst at first, and ends best"
    assert _stopped_at(study, 0.05, sign) == 1, "looks best at first, and ends worst"


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.integers(1, 3), st.integers(2, 4))
def test_trials_end_at_rungs_and_never_before_the_first(lr: float, first: int, factor: int):
    if first > EPOCHS // factor:
        first = 1
    study = _study(trials=12, pruner=ForestPruner(EPOCHS, first=first, factor=factor))
    stopped = _stopped_at(study, lr)
    assert stopped is None or (stopped in rungs(EPOCHS, first, factor) and stopped >= first)


def test_between_rungs_nothing_is_decided():
    study = _study()
    pruner = study.pruner
    for step in range(1, EPOCHS + 1):
        values = dict.fromkeys(range(1, step + 1), 1.0)
        trial = create_trial(
            state=TrialState.RUNNING,
            params={"lr": 0.0, "kind": "a"},
            distributions=SPACE,
            intermediate_values=values,
        )
        assert pruner.prune(study, trial) == (step in (1, 3))


def test_the_first_trials_are_trained_whole():
    study = optuna.create_study(direction="maximize", pruner=ForestPruner(EPOCHS, startup=8))
    assert [_stopped_at(study, lr) for lr in np.linspace(0.9, 0.2, 8)] == [None] * 8
    assert _stopped_at(study, 0.0) == 1


def test_the_same_history_gives_the_same_decisions():
    asked = np.linspace(0, 1, 9)
    runs = [[_stopped_at(_study(), lr) for lr in asked] for _ in range(2)]
    shared = _study()
    assert runs[0] == runs[1]
    assert _stopped_at(shared, 0.05) == _stopped_at(_study(), 0.05)


def test_what_it_remembers_of_another_history_is_not_used():
    pruner = ForestPruner(EPOCHS)
    good, bad = _study(pruner=pruner), _study("minimize", trials=31, pruner=pruner)
    assert (_stopped_at(good, 0.05), _stopped_at(bad, 0.95, -1.0)) == (1, None)
    assert (_stopped_at(good, 0.05), _stopped_at(bad, 0.05, -1.0)) == (1, 1)


def test_a_trial_without_all_its_rungs_goes_on():
    study = _study()
    trial = create_trial(
        state=TrialState.RUNNING, params={"lr": 0.0, "kind": "a"}, distributions=SPACE, intermediate_values={3: 1.0}
    )
    assert not study.pruner.prune(study, trial)
    assert not study.pruner.prune(study, create_trial(state=TrialState.RUNNING))


def test_a_value_that_the_history_does_not_know_goes_on():
    study = _study()
    trial = create_trial(
        state=TrialState.RUNNING,
        params={"lr": 2.0, "kind": "a"},
        distributions={**SPACE, "lr": FloatDistribution(0, 5)},
        intermediate_values={1: 1.0},
    )
    assert not study.pruner.prune(study, trial)


def test_losses_that_exploded_do_not_hide_the_rest():
    """An early cost of 1e30, or infinite, among costs near 1."""
    final = np.linspace(0, 1, 40)
    early = np.where(final > 0.9, np.where(final > 0.95, math.inf, 1e30), final)[:, None]
    forecast = Forecast(np.zeros((40, 1)), early, final, seed=0)
    expected = forecast.expected(np.zeros((3, 1)), np.array([[0.1], [0.5], [math.inf]]))
    assert expected[0] < 0.3 < expected[1] < 0.7 < expected[2]
    assert forecast.promising(np.zeros((2, 1)), np.array([[0.05], [0.8]]), 0.5).tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs 0 is not a whole number of at least 1"),
        ({"epochs": 27, "first": 0}, "first 0 is not a whole number of at least 1"),
        ({"epochs": 27, "factor": 1}, "factor 1 is not a whole number of at least 2"),
        ({"epochs": 27, "startup": True}, "startup True is not a whole number of at least 2"),
        ({"epochs": 27, "share": 1}, "share 1 is not between 0 and 1"),
        ({"epochs": 27, "first": 10}, "first 10 is above 9: 27 epochs over factor 3"),
        ({"epochs": 2}, "first 1 is above 0"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ForestPruner(**options)


def test_a_pruner_that_two_studies_share_judges_each_by_its_own_trials():
    shared = ForestPruner(EPOCHS)
    up, down = _study(pruner=shared), _study("minimize", pruner=shared)
    alone = _study("minimize")
    _stopped_at(up, 0.1)
    assert [_stopped_at(down, lr, sign=-1) for lr in (0.1, 0.9)] == [
        _stopped_at(alone, lr, sign=-1) for lr in (0.1, 0.9)
    ]
