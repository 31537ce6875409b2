"""The pace of a study's training in this process: on one thread, and on as many as make it faster."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeAlias

from lab.lanes.engine import Probe
from lab.lanes.local import LocalEngine
from lab.lanes.speed.packing import step_ms
from lab.lanes.speed.threads import on_more_threads
from lab.lanes.speed.thresholds import WORTH_TIMING_S
from lab.spec.batch_size import batch_sizes
from lab.spec.plan import Job, Training
from lab.spec.study import StudySpec
from lab.tasks.load import load_task
from lab.tasks.task import Task
from lab.training.device import pick_device
from lab.training.trainer import steps_per_epoch

StepsAhead: TypeAlias = Callable[[float], float]
"""Turns the optimizer steps of an epoch into those of the whole training."""


@dataclass(frozen=True)
class Pace:
    """The fastest ways to train in this process, and the seconds of the whole training, where they are known."""

    plain: Probe
    """The probe on as many threads as a lane on Ray has."""
    plain_s: float | None
    fastest: Probe
    """The probe on more threads, where they make it faster."""
    seconds: float | None


def find_pace(spec: StudySpec, local: LocalEngine, job: Job, widest: int, steps_ahead: StepsAhead) -> Pace:
    """Probe a study's job in this process.

    Raises:
        TaskError, SpecError: see `lab.lanes.speed.probe.probe`.
    """
    plain = local.probe(job, widest)
    task = load_task(job.task)
    if not plain.milliseconds or not isinstance(task, Task):
        return Pace(plain, None, plain, None)
    steps = steps_ahead(epoch_steps(spec, task))
    plain_s = _seconds(steps, plain)
    execution = spec.execution
    # The spec may ask for what is slower than the fastest; it is trained all the same.
    other = plain.path == "sequential" and (execution.path not in ("auto", plain.path) or execution.width != "auto")
    if execution.threads != "auto" or other or not is_on_cpu(spec) or plain_s <= WORTH_TIMING_S:
        return Pace(plain, plain_s, plain, plain_s)
    fastest = on_more_threads(job, plain, widest, os.cpu_count() or 1)
    return Pace(plain, plain_s, fastest, _seconds(steps, fastest))


def epoch_steps(spec: StudySpec, task: Task) -> float:
    """Optimizer steps of an epoch; their mean where batch sizes are searched."""
    examples = len(task.data("train")[0])
    training = Training(spec.optimizer, spec.batch_size)
    sizes = batch_sizes(spec.batch_size, spec.space)
    return fmean(steps_per_epoch(examples, replace(training, batch_size=size)) for size in sizes)


def _seconds(steps: float, probe: Probe) -> float:
    """Seconds that `steps` optimizer steps take on one lane, as the probe has timed it."""
    return steps * step_ms(probe) / 1000


def is_on_cpu(spec: StudySpec) -> bool:
    """Whether a study's models are trained on the CPU."""
    return pick_device(spec.execution.device).type == "cpu"
