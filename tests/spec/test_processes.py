"""How many processes divide a lane's batches: what follows from its GPUs, and what does not go with it."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import SpecError
from lab.spec.processes import processes_of
from lab.spec.study import StudySpec, parse_spec


def spec(execution: dict[str, Any], **more: Any) -> StudySpec:
    space = {"max_lr": {"low": 0.01, "high": 0.1}, **more.pop("space", {})}
    return parse_spec({"name": "one", "task": "digits", "space": space, "execution": execution, **more})


@pytest.mark.parametrize(
    ("execution", "count"),
    [
        ({}, 1),
        ({"gpus_per_lane": 0.5}, 1),
        ({"gpus_per_lane": 4}, 4),
        ({"gpus_per_lane": 4, "path": "function"}, 1),
        ({"processes": 2, "path": "sequential", "width": 1}, 2),
        ({"processes": 2, "engine": "local", "lanes": 1}, 2),
        ({"processes": 1, "path": "stacked", "width": 8}, 1),
    ],
)
def test_there_is_one_for_each_gpu_unless_the_spec_says(execution: dict[str, Any], count: int) -> None:
    assert processes_of(spec(execution)) == count


@pytest.mark.parametrize(
    ("execution", "more", "line"),
    [
        (
            {"processes": 2, "path": "stacked"},
            {},
            r"execution\.path: 'stacked' does not go with 2 processes, .*sequential",
        ),
        ({"gpus_per_lane": 2, "width": 3}, {}, r"execution\.width: 3 does not go with 2 processes, .*; choose 1"),
        ({"processes": 2, "engine": "local", "lanes": 2}, {}, r"execution\.lanes: 2 does not go with 2 processes"),
        (
            {"processes": 3, "gpus_per_lane": 2},
            {},
            r"execution\.processes: 3 is not one for each of the 2 GPUs of a lane",
        ),
        ({"processes": 3}, {}, r"batch_size: 64 is not divided equally among 3 processes"),
        (
            {"processes": 4},
            {"space": {"batch_size": {"choice": [16, 18]}}},
            r"batch_size: 18 is not divided equally among 4 processes",
        ),
        ({"sharded": True}, {}, r"execution\.sharded: one process has the whole model; say gpus_per_lane: 2 or more"),
        (
            {"gpus_per_lane": 2, "sharded": True},
            {"schedule": {"one": {"kind": "fine_tune"}}},
            r"schedule: a kind that freezes parts of the model does not go with execution\.sharded: true",
        ),
        (
            {"gpus_per_lane": 2, "sharded": True},
            {"final": {"ema_decay": 0.99}},
            r"final\.ema_decay: 0\.99 does not go with execution\.sharded: true",
        ),
    ],
)
def test_what_does_not_go_with_several_is_one_line(execution: dict[str, Any], more: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError, match=line):
        processes_of(spec(execution, **more))
