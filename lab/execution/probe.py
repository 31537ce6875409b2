"""Finding, by checking and timing, the path and the width at which a lane trains a job's trials fastest."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median

import torch
from torch import nn

from lab.assignment import Assignment, Job, Outcome
from lab.errors import TaskError
from lab.execution.engine import Probe
from lab.execution.lane import make_trainer
from lab.execution.packing import fastest
from lab.execution.template import corner_params, end_params, template_params
from lab.schedules import Constant
from lab.space import Choice, Dimension, Int, Params
from lab.tasks.building import build_model
from lab.tasks.checks import check_task
from lab.tasks.contract import Task, TrialFunction
from lab.tasks.registry import load_task
from lab.training.batch_size import BATCH_SIZE, batch_sizes
from lab.training.equivalence import Untrainable, check_path
from lab.training.memory import out_of_memory
from lab.training.models import PATHS, SlotModels, build_models
from lab.training.options import check_optimizer
from lab.training.stacking.layouts import NotStackable

_STEPS = 16
_ROUNDS = 3
_ROUND_S = 0.2
"""Of slow steps fewer make a round: a net of 50 ms a step was timed for a third as long as its search took."""
_EXAMPLES = 8
_SLOWER = 1.25
_MANY = 1000
"""Groups, where they cannot be counted."""


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
    check_task(task, _middle(job))
    job = replace(job, task=replace(job.task, opened=task))  # its data are read once, not for every width
    roughly = _milliseconds(job, "sequential", 1, steps=1)
    times = {("sequential", 1): _milliseconds(job, "sequential", 1, _enough(roughly))}
    groups = {BATCH_SIZE: len(sizes)} if len(sizes) > 1 else {}
    refused: list[str] = []
    asked = job.training.path
    for path in PATHS[:-1] if asked == "auto" else {asked}.intersection(PATHS[:-1]):
        try:
            groups |= _check(path, task, job)
            _time(path, job, widest, times)
            break  # the ones after it are slower
        except NotStackable as error:
            refused.append(f"not {path}: {error}")
    return fastest(times, widest, groups, tuple(refused))


def _middle(job: Job) -> Params:
    return template_params(job.space, {BATCH_SIZE: job.training.batch_size})


def _time(path: str, job: Job, widest: int, times: dict[tuple[str, int], float]) -> None:
    """Widths 1, 2, 4, ... as long as they fit into memory and are not clearly slower than a narrower one."""
    width, found = 1, times["sequential", 1]
    while width <= widest:
        try:
            found = _milliseconds(job, path, width, _enough(found * width))
        except TaskError as error:
            if job.training.precision == "float32":
                raise
            # It was checked in full precision; some operations cannot be had in this one.
            raise NotStackable(f"not in {job.training.precision} ({error})") from error
        except Exception as error:
            if width == 1 or not out_of_memory(error):
                raise
            return
        times[path, width] = found
        if found > _SLOWER * min(times.values()) and width > 1:
            return
        width *= 2


def _check(path: str, task: Task, job: Job) -> dict[str, int]:
    """Refuse a path that is not open to an architecture of the task, or on which it would train otherwise.

    Returns:
        By hyperparameter that changes the architecture, how many it makes.

    Raises:
        NotStackable: with the reason.
    """
    met = _Met(path, task)
    met.is_new(_middle(job))
    found: dict[str, int] = {}
    for name, dimension in job.space.items():
        others = sum(met.is_new(params) for params in end_params(job.space, name, _middle(job)))
        if others:
            found[name] = 1 + others if isinstance(dimension, Choice) else _within(dimension)
    for params in corner_params(job.space):
        met.is_new(params)
    return found


def _within(dimension: Dimension) -> int:
    """Values of a range, as far as they can be counted."""
    return min(dimension.high - dimension.low + 1, _MANY) if isinstance(dimension, Int) else _MANY


class _Met:
    """The architectures met so far, each checked on a path."""

    def __init__(self, path: str, task: Task) -> None:
        self._path, self._task = path, task
        x, self._y = (split[:_EXAMPLES] for split in task.data("train"))
        self._x = task.model_input(x)
        self._models: list[SlotModels] = []

    def is_new(self, params: Params) -> bool:
        """Whether the model of these hyperparameters is of an architecture not met before, which is then checked.

        Raises:
            NotStackable: the path is not open to it.
        """
        try:
            module = self._build(params, 0)
        except Exception:  # at which the user's model raises: that fails its trials, not the study
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

    def _build(self, params: Params, seed: int) -> nn.Module:
        return build_model(self._task, params, seed, self._x)


def _enough(step_ms: float) -> int:
    """Steps of a round, where all slots' step is expected to take so long."""
    return max(min(round(_ROUND_S * 1000 / step_ms), _STEPS), 1)


def _milliseconds(job: Job, path: str, width: int, steps: int) -> float:
    """Median time of one trial's optimizer step, over rounds of so many."""
    steps = min(steps, job.training.epoch_steps or steps)
    training = replace(job.training, path=path, epoch_steps=steps, record_losses=True, stop_at=None)
    trainer = make_trainer(replace(job, training=training, width=width, stack=None))
    params = _middle(job)
    for slot in range(width):
        schedule = Constant(max_lr=1e-4)
        trainer.start(Assignment(slot, params, slot, _ROUNDS + 1, schedule, slot, 0))
    found = []
    for _ in range(_ROUNDS + 1):
        begin = time.perf_counter()
        results = trainer.epoch()
        found.append(time.perf_counter() - begin)
        failed = next((result.detail for result in results if result.outcome is Outcome.FAILED), "")
        if failed or len(results) != width:
            why = failed.strip().splitlines()[-1] if failed else "its trial ended"
            raise TaskError(f"its speed could not be measured: {why}")
    return median(found[1:]) * 1000 / steps / width
