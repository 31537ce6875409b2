"""How fast a study's trials are trained in this process: on one thread, and on as many as make them faster."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from lab.assignment import Job
from lab.cost import epoch_steps, training_seconds
from lab.execution.engine import Probe
from lab.execution.local import LocalEngine
from lab.execution.threads import on_more_threads
from lab.spec import StudySpec
from lab.tasks.registry import load_task
from lab.training.device import pick_device

_WORTH_TIMING_S = 4.0
"""Training below which it is not tried whether more threads make it faster."""


@dataclass(frozen=True)
class Pace:
    """What was found, and the seconds that all of the training takes, where they can be told."""

    plain: Probe
    """On as many threads as a lane on Ray has."""
    plain_s: float | None
    fastest: Probe
    """On more, where they make it faster."""
    seconds: float | None


def find_pace(spec: StudySpec, local: LocalEngine, job: Job, widest: int, stages: Iterable[str]) -> Pace:
    """Probe a study's job in this process; `stages` are those that train.

    Raises:
        TaskError, SpecError: see `lab.execution.probe.probe`.
    """
    stages = tuple(stages)
    plain = local.probe(job, widest)
    steps = epoch_steps(spec, load_task(job.task)) if plain.milliseconds else None
    if steps is None:
        return Pace(plain, None, plain, None)
    plain_s = training_seconds(spec, plain, steps, stages)
    execution = spec.execution
    # What is asked for may be slower than what was found, and is what will train all the same.
    other = plain.path == "sequential" and (execution.path not in ("auto", plain.path) or execution.width != "auto")
    if execution.threads != "auto" or other or not is_on_cpu(spec) or plain_s <= _WORTH_TIMING_S:
        return Pace(plain, plain_s, plain, plain_s)
    fastest = on_more_threads(job, plain, widest, os.cpu_count() or 1)
    return Pace(plain, plain_s, fastest, training_seconds(spec, fastest, steps, stages))


def is_on_cpu(spec: StudySpec) -> bool:
    """Whether a study's models are trained on the CPU."""
    return pick_device(spec.execution.device).type == "cpu"
