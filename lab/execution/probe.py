"""Finding, by timing, the path and the width at which a lane trains a job's trials fastest."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from statistics import median

from lab.assignment import Assignment, Job
from lab.errors import TaskError
from lab.execution.engine import Probe
from lab.execution.lane import make_trainer
from lab.execution.template import corner_params, template_params
from lab.schedules import Constant
from lab.tasks.checks import check_task
from lab.tasks.contract import Task, TrialFunction
from lab.tasks.registry import load_task
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.structure import structure
from lab.training.trainer import build_model

_STEPS = 16
_ROUNDS = 3
_GAIN = 1.05
"""A wider lane must be this much faster per trial: width costs the search its freshness."""


def probe(job: Job, widest: int) -> Probe:
    """Time sequential training and stacked widths 1, 2, 4, ... up to `widest`; see `Engine.probe`.

    Raises:
        TaskError: the task breaks its contract.
    """
    task = load_task(job.task)
    if isinstance(task, TrialFunction):
        return Probe("function", 1, "a trial function runs by itself", {})
    check_task(task, template_params(job.space))
    times = {"sequential x 1": _milliseconds(job, "sequential", 1)}
    try:
        _check_one_architecture(task, job)
        width = 1
        while width <= widest:
            times[f"stacked x {width}"] = _milliseconds(job, "stacked", width)
            width *= 2
    except NotStackable as error:
        return Probe("sequential", 1, f"not stackable: {error}", times)
    best = "sequential x 1"
    for name, time_ms in times.items():
        if times[best] >= _GAIN * time_ms:
            best = name
    path, _, count = best.partition(" x ")
    reason = f"fastest of {len(times)} timed: {times['sequential x 1'] / times[best]:.1f} times sequential"
    return Probe(path, int(count), reason, times)


def _check_one_architecture(task: Task, job: Job) -> None:
    shapes = []
    for params in corner_params(job.space):
        # A corner at which the user's model raises fails its trials, not the study.
        with contextlib.suppress(Exception):
            shapes.append(structure(build_model(task, params, seed=0)))
    if any(shape != shapes[0] for shape in shapes):
        raise NotStackable("hyperparameters change the architecture from trial to trial")


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
