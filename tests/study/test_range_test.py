"""A range test by itself: stacked, restoring what it found, honest where it says nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

import lab
from lab.errors import Interrupted, StudyError, TaskError
from lab.study.range_test import RangeTest
from lab.tasks.digits import Digits


@pytest.fixture(scope="module")
def tested() -> RangeTest:
    return lab.lr_range("digits", seeds=3, weight_decays=(0.001, 0.1), dropouts=(0.0, 0.3))


def test_seeds_weight_decays_and_dropouts_are_all_run(tested: RangeTest) -> None:
    runs = tested.artefact["runs"]
    assert len(runs) == 12
    assert {run["weight_decay"] for run in runs} == {0.001, 0.1}
    assert len({tuple(run["smoothed"]) for run in runs}) == 12


def test_the_suggestion_lies_in_its_interval_and_between_the_bounds(tested: RangeTest) -> None:
    assert tested.sure is not None
    assert tested.sure[0] <= tested.suggestion <= tested.sure[1]
    assert tested.bounds[0] < tested.suggestion < tested.bounds[1]
    assert tested.weight_decay in (0.001, 0.1)
    assert set(tested.rules) == {"valley", "slide", "steep", "minimum"}


def test_the_picture_shows_every_weight_decay_and_rule(tested: RangeTest) -> None:
    figure = tested.plot()
    names = [trace.name for trace in figure.data if trace.name]
    assert "weight decay 0.001" in names
    marks = next(trace for trace in figure.data if trace.name and trace.name.startswith("other rules"))
    assert list(marks.text) == ["valley", "slide", "steep", "minimum"]


def test_random_states_and_the_task_are_left_as_found() -> None:
    task = Digits()
    x, y = task.data("train")
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().clone(), x.clone(), y.clone())
    lab.lr_range(task, seeds=1, steps=40)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state(), x, y)
    assert before[:2] == after[:2]
    assert all(torch.equal(a, b) for a, b in zip(before[2:], after[2:], strict=True))


def test_a_linear_ramp_has_equal_differences() -> None:
    linear = lab.lr_range("digits", seeds=1, steps=60, start=1e-4, end=0.5, exponential=False)
    lrs = np.array(linear.artefact["runs"][0]["lrs"])
    np.testing.assert_allclose(np.diff(lrs), np.diff(lrs)[0], rtol=1e-6)


class Constant(Digits):
    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().loss(output, target) * 0 + 1


class Frozen(Digits):
    def model(self, params: object) -> torch.nn.Module:
        model = super().model({})
        return model.requires_grad_(False)


def test_a_loss_that_is_constant_says_nothing_and_why() -> None:
    with pytest.raises(StudyError, match="the loss never falls by more than 5 %"):
        lab.lr_range(Constant(), seeds=1)


def test_a_model_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(TaskError, match="has no trainable parameters"):
        lab.lr_range(Frozen(), seeds=1)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(TaskError, match="batch_size 5000 is above the 1077 training examples"):
        lab.lr_range("digits", seeds=1, batch_size=5000)


def test_one_batch_only_is_enough_for_a_test() -> None:
    single = lab.lr_range("digits", seeds=2, batch_size=1077, steps=60)
    assert single.suggestion > 0


def test_one_that_is_interrupted_says_that_it_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted("stopped; all finished epochs are saved")

    monkeypatch.setattr("lab.study.range_test.Study.run", stopped)
    with pytest.raises(Interrupted, match=r"^stopped; a range test by itself keeps nothing$"):
        lab.lr_range("digits")
