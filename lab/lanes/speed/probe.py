"""The search for the path and the width at which a lane trains a job's trials fastest, by checking and timing."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from lab.lanes.engine import Probe
from lab.lanes.lane import template_of
from lab.lanes.speed.kept_times import KeptTimes
from lab.lanes.speed.packing import doubled, fastest
from lab.lanes.speed.timing import time_alone, time_rows
from lab.spec.batch_size import BATCH_SIZE, batch_sizes
from lab.spec.optimizer import check_optimizer
from lab.spec.plan import Job
from lab.spec.points import corner_params, end_params
from lab.spec.space import Choice, Dimension, Int, Params
from lab.tasks.build import build_model, first_examples, group_count
from lab.tasks.checks import check_trainable
from lab.tasks.load import load_task
from lab.tasks.task import Task, TrialFunction
from lab.training.equivalence import Untrainable, check_path
from lab.training.models import PATHS, SlotModels, build_models
from lab.training.stacking.layouts import NotStackable
from lab.training.trainer import steps_per_epoch

_MANY = 1000
"""Number of groups to assume where they cannot be counted."""


def probe(job: Job, widest: int) -> Probe:
    """Take the fastest path that trains as plain PyTorch does, at its fastest width up to `widest`; see `Engine.probe`.

    Every architecture is checked. One group is timed, at the spec's batch size where that is among those searched. The
    reason says what was refused and why.

    Raises:
        TaskError: the task breaks its contract.
        SpecError: an optimizer or a batch size that cannot be, at some end of the space.
    """
    task = load_task(job.task)
    if isinstance(task, TrialFunction):
        return Probe("function", 1, "a trial function runs by itself", {})
    check_optimizer(job.training.optimizer, job.space)
    sizes = batch_sizes(job.training.batch_size, job.space)
    check_trainable(task, template_of(job))
    examples = len(task.data("train")[0])  # once: a user's task may read its files each time
    for size in sizes:
        steps_per_epoch(examples, replace(job.training, batch_size=size))
    job = replace(job, task=replace(job.task, opened=task))  # its data are read once, not for every width
    kept = KeptTimes(job)
    times = {("sequential", 1): time_alone(job, kept)}
    groups = {BATCH_SIZE: len(sizes)} if len(sizes) > 1 else {}
    refused: list[str] = []
    asked = job.training.path
    for path in PATHS[:-1] if asked == "auto" else {asked}.intersection(PATHS[:-1]):
        try:
            groups |= _check(path, task, job)
            time_rows(path, job, doubled(1, widest), times, kept)
            break  # the ones after it are slower
        except NotStackable as error:
            refused.append(f"not {path}: {error}")
    return fastest(times, widest, groups, tuple(refused), job.training.threads, kept.taken)


def _check(path: str, task: Task, job: Job) -> dict[str, int]:
    """Refuse a path that is not open to an architecture of the task, or on which it would train otherwise.

    Returns:
        By hyperparameter that changes the architecture, how many it makes.

    Raises:
        NotStackable: with the reason.
    """
    met = _Met(path, task)
    if job.recipe.freezes and met.groups(template_of(job)) > 1:
        raise NotStackable("the schedule freezes parts of the model, each trial at its own steps")
    met.is_new(template_of(job))
    counts: dict[str, int] = {}
    for name, dimension in job.space.items():
        others = sum(met.is_new(params) for params in end_params(job.space, name, template_of(job)))
        if others:
            counts[name] = 1 + others if isinstance(dimension, Choice) else _within(dimension)
    for params in corner_params(job.space):
        met.is_new(params)
    return counts


def _within(dimension: Dimension) -> int:
    """Number of values of a range, as far as they can be counted."""
    return min(dimension.high - dimension.low + 1, _MANY) if isinstance(dimension, Int) else _MANY


class _Met:
    """The architectures met so far, each checked on a path."""

    def __init__(self, path: str, task: Task) -> None:
        self._path, self._task = path, task
        x, self._y = first_examples(task.data("train"))
        self._x = task.model_input(x)
        self._models: list[SlotModels] = []

    def is_new(self, params: Params) -> bool:
        """Whether the model of these hyperparameters is of an architecture not met before, which is then checked.

        Raises:
            NotStackable: the path is not open to it.
        """
        try:
            module = self._build(params, 0)
        except Exception:  # a user's model that raises here fails its trials, not the study
            return False
        if any(models.takes(module) for models in self._models):
            return False
        try:
            check_path(self._path, self._task, lambda seed: self._build(params, seed), self._x, self._y)
        except Untrainable:
            if self._models:  # as above
                return True
            raise
        models = build_models(self._path, module, 1, self._x, torch.device("cpu"))
        models.load(0, self._build(params, 1), seed=0)
        self._models.append(models)
        return True

    def groups(self, params: Params) -> int:
        """How many parameter groups the task makes of its model."""
        return group_count(self._task, params, self._x)

    def _build(self, params: Params, seed: int) -> nn.Module:
        return build_model(self._task, params, seed, self._x)
