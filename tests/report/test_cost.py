"""Time is counted once, however many slots trained in it, and pauses are not counted."""

from __future__ import annotations

import pytest

from lab.record.trials import TrialRow
from lab.report.cost import Cost, StageCost, cost_by_stage, cost_of, duration
from lab.report.plots import cost_figure
from lab.spec.execution import ExecutionSpec
from lab.spec.trial import Trial


def row(number: int, begin: float, end: float, epochs: int = 3) -> TrialRow:
    curve = dict.fromkeys(range(1, epochs + 1), 0.5)
    return TrialRow(number, Trial({}, 0, epochs), curve=curve, seconds=end - begin, ended_at=end)


def test_slots_that_train_at_the_same_time_cost_it_once_and_a_pause_nothing() -> None:
    trials = {"explore": [row(0, 0, 10), row(1, 2, 8), row(2, 8, 12)], "refit": [row(0, 100, 105)]}
    cost = cost_of(trials, ExecutionSpec(lanes=2, gpus_per_lane=0.5))
    assert (cost.trainings, cost.training_s, cost.lanes, cost.gpus) == (4, 17.0, 2, 1.0)
    assert cost.line == "4 trainings, 12 epochs; 17 s of training on 2 lanes, 17 s of a GPU"


def test_a_trial_that_runs_has_no_time_yet() -> None:
    running = TrialRow(0, Trial({}, 0, 3), curve={1: 0.5})
    assert cost_of({"explore": [running]}, ExecutionSpec()).line == "1 trainings, 1 epochs"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.04 s"), (9.96, "10 s"), (119.4, "119 s"), (120, "2 minutes"), (7100, "118 minutes"), (7200, "2 hours")],
)
def test_times_are_said_in_a_unit_of_their_size(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_line_of_a_study_without_times_is_what_it_was() -> None:
    assert Cost(3, 12).line == "3 trainings, 12 epochs"


def test_the_stages_costs_are_the_whole_cost() -> None:
    trials = {"bounds": [], "explore": [row(0, 0, 10), row(1, 2, 8)], "refit": [TrialRow(0, Trial({}, 0, 7))]}
    costs = cost_by_stage(trials)
    assert costs == (StageCost("explore", 2, 6, 10.0), StageCost("refit", 1, 7, 0.0))
    whole = cost_of(trials, ExecutionSpec())
    assert (sum(one.trainings for one in costs), sum(one.epochs for one in costs)) == (whole.trainings, whole.epochs)
    (bars,) = cost_figure(costs).data
    assert (list(bars.y), list(bars.x)) == (["refit", "explore"], [0.0, 10.0])
    (bars,) = cost_figure([StageCost("explore", 2, 6, 0.0)]).data
    assert list(bars.x) == [6], "epochs, where an earlier version kept no times"
    assert cost_figure([StageCost("explore", 2, 6, 7200.0)]).layout.xaxis.title.text == "hours of training"
