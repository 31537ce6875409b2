"""A test whether a trial's numbers depend on what trains beside it: one trial, alone, among others and refilled.

A lane may put a trial into any row, refill the row before it, move it and take it up again elsewhere. All of that gives
the same bits only where the arithmetic of each row is that of every other. Kernels decide it, so it is tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lab.lanes.engine import Promise
from lab.lanes.lane import template_of
from lab.schedules import Constant
from lab.spec.exchange import Assignment
from lab.spec.plan import Job
from lab.spec.space import Params
from lab.spec.trial import Trial
from lab.tasks.load import load_task
from lab.tasks.task import Split, Task
from lab.training.batches import Examples
from lab.training.device import DeviceLost, check_precision, pick_device
from lab.training.evaluation import examples_at_once
from lab.training.trainer import ModelTrainer

_STEPS = 2
_RATE = 1e-2
_SEED = 1
_MOST_OTHERS = 3
"""Rows are computed whether trials lie in them or not, so a few others are as good as all."""


def self_test(job: Job) -> Promise:
    """Train one trial in several ways on the path, width and threads of a job, and compare weights and scores.

    Raises:
        DeviceLost: the process can train no more.
        SpecError: the device that the spec asks for cannot be had, or not with its precision.
    """
    check_precision(job.training.precision, pick_device(job.training.device))
    try:
        torch.set_num_threads(job.training.threads)
        task = load_task(job.task)
        assert isinstance(task, Task)  # a trial function has no rows
        return _compared(task, job)
    except DeviceLost:
        raise
    except Exception as error:  # what a user's model raises ends its trials, which say so; it does not end the study
        return Promise(None, None, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def _compared(task: Task, job: Job) -> Promise:
    # A lane of one slot is tried with two: another width is what it is compared with.
    rows = 1 if job.training.path == "sequential" else max(min(job.stack or job.width, job.width), 2)
    tried = _Tried(task, job, rows)
    wide = tried.trainer(rows)
    alone = tried.trained(wide, 0)
    if rows == 1:  # a model of its own: another one, while the first lives
        return Promise(_difference(alone, tried.trained(tried.trainer(1), 0)) / _STEPS, 0.0)
    wide.stop(0)
    among = tried.trained(wide, rows - 1, beside=range(min(rows - 1, _MOST_OTHERS)))
    for slot in (0, rows - 1):
        wide.stop(slot)
    refilled = tried.trained(wide, 0)
    own = tried.trained(tried.trainer(1), 0)
    within = max(_difference(alone, among), _difference(alone, refilled))
    return Promise(within / _STEPS, _difference(alone, own) / _STEPS)


class _Tried:
    """A trial of a job's middle hyperparameters, trained for a few steps wherever it is put.

    It is validated on one example more than are evaluated at once, since that is where the width cuts the split.
    """

    def __init__(self, task: Task, job: Job, rows: int) -> None:
        self._task = task
        self._training = replace(job.training, epoch_steps=_STEPS, stop_at=None, record_losses=False)
        self._params: Params = template_of(job)
        x, y = task.data("valid")
        most = examples_at_once(x, rows) + 1
        device = pick_device(job.training.device)
        train = Examples(task.data("train"), device)
        self._data: dict[Split, Examples] = {"train": train, "valid": Examples((x[:most], y[:most]), device)}

    def trainer(self, rows: int) -> ModelTrainer:
        return ModelTrainer(self._task, self._training, rows, self._params, self._data)

    def trained(self, trainer: ModelTrainer, slot: int, beside: range = range(0)) -> dict[str, Tensor]:
        """The trial's weights and scores after an epoch in a slot. Other trials start in the slots `beside`."""
        for other in beside:
            trainer.start(self._assignment(other, _SEED + 1 + other))
        trainer.start(self._assignment(slot, _SEED))
        result = next(result for result in trainer.epoch() if result.slot == slot)
        return dict(_numbers(result.metrics, trainer.save(slot)[0]))

    def _assignment(self, slot: int, seed: int) -> Assignment:
        trial = Trial(self._params, seed, _MOST_OTHERS, own_schedule=Constant(max_lr=_RATE))
        return Assignment(slot, trial, slot, 0)


def _numbers(metrics: Mapping[str, float], tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in metrics.items():
        yield f"metric/{name}", torch.tensor(value, dtype=torch.float64)
    for name, tensor in tensors.items():
        if name.startswith("model/") and tensor.is_floating_point():
            yield name, tensor.detach().cpu().clone()


def _difference(expected: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference, relative to the largest number of its tensor; infinite where only one is finite."""
    worst = 0.0
    for name, tensor in expected.items():
        if torch.allclose(tensor, other[name], rtol=0, atol=0, equal_nan=True) or not tensor.numel():
            continue
        a, b = tensor.double(), other[name].double()
        gap = float((a - b).abs().max() / a.abs().max())
        worst = max(worst, gap if math.isfinite(gap) else math.inf)
    return worst
