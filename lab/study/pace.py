"""How long a study that has no folder yet would train on this machine, and how many steps an epoch of it has."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lab.spec.plan import Job
from lab.spec.study import StudySpec
from lab.stages import TRAINS
from lab.study.cost import steps_of
from lab.tasks.load import load_task

if TYPE_CHECKING:
    from lab.lanes.speed.pace import Pace


def pace_of(spec: StudySpec) -> Pace:
    """The pace of the whole study's training in this process; its data are read for it.

    Raises:
        TaskError: the task breaks its contract.
    """
    from lab.lanes.local import LocalEngine
    from lab.lanes.speed.pace import find_pace

    task = load_task(spec.task)
    job = Job(
        stage="probe",
        folder=Path(),
        task=replace(spec.task, opened=task),
        space=spec.space,
        recipe=spec.schedule,
        training=spec.training(),
        direction=task.direction,
        metric=task.metric,
        seed=spec.seed,
        width=1,
        lanes=1,
        plan=(),
    )
    local = LocalEngine(1, lambda progress: True)
    return find_pace(spec, local, job, spec.search.most_open, partial(steps_of, spec, TRAINS))


def steps_of_epoch(spec: StudySpec) -> float | None:
    """Optimizer steps of an epoch, their mean where batch sizes are searched; None: a trial function has no steps."""
    from lab.lanes.speed.pace import epoch_steps
    from lab.tasks.task import Task

    task = load_task(spec.task)
    return epoch_steps(spec, task) if isinstance(task, Task) else None
