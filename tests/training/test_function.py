"""A user's generator, an epoch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lab.errors import TaskError
from lab.schedules import Constant
from lab.spec.exchange import Assignment
from lab.spec.trial import Outcome, Trial
from lab.tasks.task import trial_function
from lab.training.function import FunctionTrainer

ASSIGNMENT = Assignment(0, Trial({"a": 2.0}, 1, 3, own_schedule=Constant(max_lr=0.1)), 0, 0)


def _trainer(values: list[Any]) -> FunctionTrainer:
    @trial_function(metric="score", direction="maximize")
    def function(trial: Trial) -> Iterator[Mapping[str, float]]:
        assert (trial.params["a"], trial.epochs) == (2.0, 3)
        yield from values

    trainer = FunctionTrainer(function)
    trainer.start(ASSIGNMENT)
    return trainer


def test_each_value_is_an_epoch():
    trainer = _trainer([{"score": 1}, {"score": 2}, {"score": 3, "loss": 4}, {"score": 5}])
    results = [trainer.epoch()[0] for _ in range(3)]
    assert [r.outcome for r in results] == [None, None, Outcome.COMPLETED]
    assert results[-1].metrics == {"score": 3.0, "loss": 4.0}
    trainer.stop(0)
    assert trainer.epoch() == ()


def test_nan_is_a_diverged_trial():
    (result,) = _trainer([{"score": float("nan")}]).epoch()
    assert (result.outcome, result.detail) == (Outcome.DIVERGED, "score is nan after epoch 1")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "ended after 0 of 3 epochs"),
        ([{"loss": 1.0}], "without the metric 'score'"),
        ([0.5], "yielded 0.5, without the metric 'score'"),
    ],
)
def test_what_breaks_the_contract_is_told(values: list[Any], message: str):
    with pytest.raises(TaskError, match=message):
        _trainer(values).epoch()


def test_what_stands_behind_the_last_epoch_runs():
    done = []

    @trial_function(metric="score", direction="maximize")
    def function(trial: Trial) -> Iterator[Mapping[str, float]]:
        for epoch in range(trial.epochs):
            yield {"score": float(epoch)}
        done.append("saved")

    trainer = FunctionTrainer(function)
    trainer.start(ASSIGNMENT)
    for _ in range(2):
        trainer.epoch()
    assert not done
    assert trainer.epoch()[0].outcome is Outcome.COMPLETED
    assert done == ["saved"]
