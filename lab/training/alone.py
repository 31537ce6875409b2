"""One model trained by itself, by the one loop: what a lane does for a trial, without a ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Outcome, Trial
from lab.tasks.build import build_model
from lab.tasks.task import Task
from lab.tasks.transfer.adapter import own_tensors
from lab.training.grouped import GroupedTrainer
from lab.training.interface import EpochResult
from lab.training.threads import on_threads

_MODEL = "model/"


@dataclass(frozen=True)
class Alone:
    """How a training by itself ended."""

    outcome: Outcome
    detail: str
    model: nn.Module | None
    """The trained model on the host, in evaluation; None where the training did not complete."""


def train_alone(
    task: Task,
    training: Training,
    trial: Trial,
    watch: Callable[[EpochResult], object],
    attach: Callable[[nn.Module], object] | None = None,
) -> Alone:
    """Train one trial to its end, on the threads of `training`; the process has its own again afterwards.

    A study's trial of the same parameters, seed, epochs and path has the same numbers to the last bit, since it is
    trained by the same steps.

    Args:
        training: with a resolved `path`.
        trial: with a schedule of its own.
        watch: is called after every epoch.
        attach: is called with the net before its first step, to hang hooks on it; on the path `sequential` alone.

    Raises:
        TaskError, NotStackable: see `ModelTrainer`.
    """
    with on_threads(training.threads):
        return _trained(task, training, trial, watch, attach)


def _trained(
    task: Task,
    training: Training,
    trial: Trial,
    watch: Callable[[EpochResult], object],
    attach: Callable[[nn.Module], object] | None,
) -> Alone:
    trainer = GroupedTrainer(task, training, 1, 1, trial.params)
    trainer.start(Assignment(0, trial, slot=0, tick=0))
    if attach is not None:
        attach(trainer.module(0))
    while True:
        (result,) = trainer.epoch()
        watch(result)
        if result.outcome is not None:
            break
    if result.outcome is not Outcome.COMPLETED:
        return Alone(result.outcome, result.detail, None)
    state = trainer.save(0)
    assert state is not None  # a model's training can always be saved
    examples = task.model_input(task.data("train")[0][:3])
    model = build_model(task, trial.params, trial.seed, examples)
    own = own_tensors(model)
    with torch.no_grad():
        for name, tensor in state[0].items():
            if name.startswith(_MODEL):
                own[name.removeprefix(_MODEL)].copy_(tensor)
    return Alone(result.outcome, result.detail, model.eval())
