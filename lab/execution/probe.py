"""Finding, by checking and timing, the path and the width at which a lane trains a job's trials fastest."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median

import torch

from lab.assignment import Assignment, Job
from lab.errors import TaskError
from lab.execution.engine import Probe
from lab.execution.lane import make_trainer
from lab.execution.memory import out_of_memory
from lab.execution.template import corner_params, template_params
from lab.schedules import Constant
from lab.tasks.building import build_model
from lab.tasks.checks import check_task
from lab.tasks.contract import Task, TrialFunction
from lab.tasks.registry import load_task
from lab.training.equivalence import check_path
from lab.training.models import PATHS, build_models
from lab.training.optimizer import build_optimizer
from lab.training.stacking.layouts import NotStackable

_STEPS = 16
_ROUNDS = 3
_EXAMPLES = 8
_SLOWER = 1.25
_GAIN = 1.05
"""A wider lane must be this much faster per trial: width costs the search its freshness."""


def probe(job: Job, widest: int) -> Probe:
    """Take the fastest path that trains as plain PyTorch does, at its fastest width up to `widest`; see `Engine.probe`.

    The reason says what was refused and why.

    Raises:
        TaskError: the task breaks its contract.
        SpecError: an optimizer that cannot be, at some corner of the space.
    """
    task = load_task(job.task)
    if isinstance(task, TrialFunction):
        return Probe("function", 1, "a trial function runs by itself", {})
    for params in corner_params(job.space):
        build_optimizer(job.training.optimizer, params)
    check_task(task, template_params(job.space))
    job = replace(job, task=replace(job.task, given=task))  # its data are read once, not for every width
    times = {"sequential x 1": _milliseconds(job, "sequential", 1)}
    refused: list[str] = []
    for path in PATHS[:-1]:
        try:
            _check(path, task, job)
            _time(path, job, widest, times)
            break  # the ones after it are slower
        except NotStackable as error:
            refused.append(f"not {path}: {error}")
    best = "sequential x 1"
    for name, time_ms in times.items():
        if times[best] >= _GAIN * time_ms:
            best = name
    path, _, count = best.partition(" x ")
    gain = times["sequential x 1"] / times[best]
    found = f"fastest of {len(times)} timed: {gain:.1f} times sequential" if len(times) > 1 else "nothing else is open"
    return Probe(path, int(count), "; ".join([found, *refused]), times)


def _time(path: str, job: Job, widest: int, times: dict[str, float]) -> None:
    """Widths 1, 2, 4, ... as long as they fit into memory and are not clearly slower than a narrower one."""
    width = 1
    while width <= widest:
        try:
            found = _milliseconds(job, path, width)
        except Exception as error:
            if width == 1 or not out_of_memory(error):
                raise
            return
        times[f"{path} x {width}"] = found
        if found > _SLOWER * min(times.values()) and width > 1:
            return
        width *= 2


def _check(path: str, task: Task, job: Job) -> None:
    """Refuse a path that is not open to the task, or on which it would train otherwise.

    Raises:
        NotStackable: with the reason.
    """
    x, y = (split[:_EXAMPLES] for split in task.data("train"))
    x = task.model_input(x)
    middle = template_params(job.space)
    check_path(path, task, lambda seed: build_model(task, middle, seed, x), x, y)
    models = build_models(path, build_model(task, middle, 0, x), 1, x, torch.device("cpu"))
    for params in corner_params(job.space):
        try:
            module = build_model(task, params, 0, x)
        except Exception:  # noqa: S112 - a corner at which the user's model raises fails its trials, not the study
            continue
        models.load(0, module, seed=0)


def _milliseconds(job: Job, path: str, width: int) -> float:
    """Median time of one trial's optimizer step."""
    steps = min(_STEPS, job.training.epoch_steps or _STEPS)
    training = replace(job.training, path=path, epoch_steps=steps, record_losses=True, stop_at=None)
    trainer = make_trainer(replace(job, training=training, width=width))
    params = template_params(job.space)
    for slot in range(width):
        schedule = Constant(max_lr=1e-4)
        trainer.start(Assignment(slot, params, slot, _ROUNDS + 1, schedule, slot, 0))
    found = []
    for _ in range(_ROUNDS + 1):
        begin = time.perf_counter()
        results = trainer.epoch()
        found.append(time.perf_counter() - begin)
        if len(results) != width:
            raise TaskError("a trial ended while its speed was measured")
    return median(found[1:]) * 1000 / steps / width
