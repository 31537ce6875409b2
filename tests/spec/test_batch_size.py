"""Batch sizes that are searched."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import SpecError, TaskError
from lab.spec.batch_size import batch_size_of, batch_sizes, whole_batches
from lab.spec.space import Choice, Dimension, Float, Int


def test_a_trials_own_batch_size_counts_and_else_the_specs():
    assert batch_size_of(64, {"batch_size": 32, "max_lr": 0.1}) == 32
    assert batch_size_of(64, {"max_lr": 0.1}) == 64


def test_the_sizes_of_a_space_are_its_options_and_the_specs_where_the_option_is_not_always_there():
    when = {"cycles": (1,)}
    assert batch_sizes(64, {"max_lr": Float(0.1, 1)}) == (64,)
    assert batch_sizes(64, {"batch_size": Choice((32, 128))}) == (32, 128)
    assert batch_sizes(64, {"batch_size": Choice((32, 128), when)}) == (32, 128, 64)
    assert batch_sizes(64, {"batch_size": Choice((32, 64), when)}) == (32, 64)


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        (Int(16, 128), "is a range; give a choice of a few"),
        (Float(16, 128), "is a range; give a choice of a few"),
        (Choice((32, 0)), "0 is not a whole number of at least 1"),
        (Choice((True,)), "True is not a whole number"),
        (Choice(("32",)), "'32' is not a whole number"),
        (Choice((32.0,)), "32.0 is not a whole number"),
    ],
)
def test_what_is_no_batch_size_is_refused(dimension: Dimension, message: Any):
    with pytest.raises(SpecError, match=f"space.batch_size: {message}"):
        batch_sizes(64, {"batch_size": dimension})


def test_an_epoch_has_whole_batches_and_at_least_one():
    assert whole_batches(100, 32) == 3
    assert whole_batches(32, 32) == 1
    with pytest.raises(TaskError, match="batch_size 33 is above the 32 training examples"):
        whole_batches(32, 33)
