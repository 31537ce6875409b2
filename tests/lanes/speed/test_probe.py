"""The probe takes a path that trains rightly, and says why others are closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.lanes.speed.probe import probe
from lab.spec.plan import Job, Recipe, SearchPlan, TaskRef, Training
from lab.spec.space import Choice, Float, Int, Space
from lab.tasks.task import Data, Split, Task
from tests.training.zoo import Recurrent, Residual, WithAnIf


class Noise(Task):
    """A model on random inputs of a shape."""

    def __init__(self, build: Callable[[Mapping[str, Any]], nn.Module], *shape: int) -> None:
        self.build, self.shape = build, shape

    def data(self, split: Split) -> Data:
        return torch.randn(32, *self.shape, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 3

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self.build(params)


def job_of(task: Task, space: Space) -> Job:
    return Job(
        stage="explore",
        folder=Path(),
        task=TaskRef("given", instance=task),
        space=space,
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 8),
        direction="maximize",
        metric="accuracy",
        seed=0,
        width=1,
        lanes=1,
        plan=SearchPlan({}, {}, 4, 1),
    )


@pytest.mark.parametrize(
    ("task", "timed", "reasons"),
    [
        (Noise(lambda params: Residual(), 1, 6, 6), "stacked", ()),
        (Noise(lambda params: WithAnIf(), 6), "vmap", ("not stacked: torch.fx cannot trace it",)),
        (
            Noise(lambda params: Recurrent(), 5, 4),
            None,
            ("nothing else is open", "not stacked: no rule for cells (LSTM)", "not vmap: it cannot be run"),
        ),
    ],
)
def test_a_closed_path_is_told_with_its_reason(task: Task, timed: str | None, reasons: tuple[str, ...]):
    probed = probe(job_of(task, Space({"weight_decay": Float(1e-4, 0.1, log=True)})), widest=2)
    paths = {path for path, _ in probed.milliseconds}
    assert paths == {"sequential"} | ({timed} if timed else set())
    assert probed.path in paths
    assert all(reason in probed.reason for reason in reasons)
    assert "\n" not in probed.reason


class Net(nn.Sequential):
    """Its size, and what it does to negative numbers, are hyperparameters."""

    def __init__(self, units: int, smooth: bool = False) -> None:
        super().__init__(nn.Linear(6, units), nn.GELU() if smooth else nn.ReLU(), nn.Linear(units, 3))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def test_every_architecture_is_a_group_and_so_is_every_batch_size() -> None:
    space = Space(
        units=Choice((4, 8, 12)), smooth=Choice((False, True)), batch_size=Choice((8, 16)), dropout=Float(0.0, 0.5)
    )
    task = Noise(lambda params: Net(params["units"], params["smooth"]), 6)
    probed = probe(job_of(task, space), widest=2)
    assert probed.groups == {"units": 3, "smooth": 2, "batch_size": 2}
    assert {path for path, _ in probed.milliseconds} == {"sequential", "stacked"}
    assert probed.stack <= probed.width


def test_a_range_of_architectures_is_as_many_groups_as_it_has_values() -> None:
    probed = probe(job_of(Noise(lambda params: Net(params["units"]), 6), Space(units=Int(4, 8))), widest=1)
    assert probed.groups == {"units": 5}
    probed = probe(job_of(Noise(lambda params: Net(round(params["units"])), 6), Space(units=Float(4, 8))), widest=1)
    assert probed.groups["units"] >= 1000


def test_a_path_that_is_closed_to_one_architecture_is_closed_to_all() -> None:
    def build(params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(20, 3)) if params["kind"] == "plain" else Recurrent()

    probed = probe(job_of(Noise(build, 5, 4), Space(kind=Choice(("plain", "recurrent")))), widest=2)
    assert (probed.path, probed.width) == ("sequential", 1)
    assert "not stacked: no rule for" in probed.reason


def test_an_architecture_that_cannot_be_trained_at_all_closes_no_path() -> None:
    """That fails its trials: seven inputs do not fit six."""

    def build(params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(params["inputs"], 4), nn.ReLU(), nn.Linear(4, 3))

    probed = probe(job_of(Noise(build, 6), Space(inputs=Choice((6, 7)))), widest=1)
    assert {path for path, _ in probed.milliseconds} == {"sequential", "stacked"}
    assert probed.groups == {"inputs": 2}


def test_the_batch_size_timed_is_the_specs_where_it_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    class Seen(Noise):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            seen.add(len(output))
            return super().loss(output, target)

    task = Seen(lambda params: Net(4), 6)
    probe(job_of(task, Space(batch_size=Choice((16, 8)))), widest=1)
    timed = seen - {4, 2}
    assert 8 in timed
    assert 16 not in timed


def test_a_width_that_does_not_fit_into_memory_is_not_taken() -> None:
    class Large(Noise):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            if len(output) > 16:  # two slots of eight
                raise MemoryError
            return super().loss(output, target)

    probed = probe(
        job_of(Large(lambda params: Residual(), 1, 6, 6), Space({"weight_decay": Float(1e-4, 0.1)})), widest=8
    )
    assert ("stacked", 2) in probed.milliseconds
    assert ("stacked", 4) not in probed.milliseconds
    assert probed.width <= 2


def test_a_path_that_cannot_be_had_in_bfloat16_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    def linear(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no such product")
        return torch.bmm(weight, x)

    monkeypatch.setattr("lab.training.stacking.fused.linear", linear)
    task = Noise(lambda params: nn.Sequential(nn.Linear(6, 3, bias=False)), 6)
    job = job_of(task, Space({"weight_decay": Float(1e-4, 0.1)}))
    assert {path for path, _ in probe(job, widest=2).milliseconds} == {"sequential", "stacked"}
    probed = probe(replace(job, training=replace(job.training, precision="bf16")), widest=2)
    assert "not stacked: not in bf16 (its speed could not be measured: RuntimeError: no such product" in probed.reason
    assert {path for path, _ in probed.milliseconds} == {"sequential", "vmap"}


def test_a_batch_size_above_the_data_is_refused_before_the_search() -> None:
    task = Noise(lambda params: Net(4), 6)
    examples = len(task.data("train")[0])
    with pytest.raises(TaskError, match=f"batch_size {examples + 1} is above the {examples} training examples"):
        probe(job_of(task, Space(batch_size=Choice((2, examples + 1)))), widest=1)


def test_a_gpu_lost_while_a_path_is_timed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asserts(Noise):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            if output.requires_grad:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return super().loss(output, target)

    def fail() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    with pytest.raises(TaskError, match=r"^its speed could not be measured: CUDA error: device-side assert triggered$"):
        probe(job_of(Asserts(lambda params: Net(4), 6), Space(dropout=Float(0, 0.5))), widest=1)
