"""Stage 1: learning-rate range tests, whose interval becomes the range of `max_lr`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from lab.assignment import Planned, derive_seed
from lab.errors import StudyError
from lab.execution.engine import Engine
from lab.execution.template import template_params
from lab.ledger import TrialRow
from lab.range_test import Run, interval, read
from lab.record import Record
from lab.schedules import Ramp
from lab.space import Choice, Float, Space
from lab.spec import StudySpec
from lab.stages.jobs import make_job, run_job, task_of, training_of
from lab.tasks.contract import Task
from lab.training.trainer import steps_per_epoch


def run(spec: StudySpec, record: Record, engine: Engine) -> dict[str, Any]:
    """Range tests over seeds and weight decays, if the space asks for their interval.

    Raises:
        StudyError: the tests say nothing, so a range has to be given.
    """
    if not spec.space.needs_bounds:
        return record.write("bounds", {"skipped": "the spec gives max_lr's range itself"})
    task = task_of(spec)
    if not isinstance(task, Task):
        raise StudyError(
            "space.max_lr: a trial function has no range test; give low and high instead of 'from: bounds'"
        )
    bounds = spec.bounds
    steps = min(steps_per_epoch(len(task.data("train")[0]), training_of(spec)), bounds.steps)
    epochs = -(-bounds.steps // steps)
    training = replace(training_of(spec), epoch_steps=steps, record_losses=True, stop_at=bounds.stop_at)
    base = {name: value for name, value in template_params(spec.space).items() if name not in ("max_lr", "cycles")}
    planned = tuple(
        Planned(
            params={**base, "weight_decay": weight_decay},
            seed=derive_seed(spec.seed, "bounds", seed),
            epochs=epochs,
            role=f"weight_decay={weight_decay:g}",
            schedule=Ramp(start=bounds.start, end=bounds.end, weight_decay=weight_decay),
        )
        for weight_decay in bounds.weight_decays
        for seed in range(bounds.seeds)
    )
    space = Space(
        {**{name: Choice((value,)) for name, value in base.items()}, "weight_decay": _range(bounds.weight_decays)}
    )
    rows = run_job(spec, record, engine, make_job(spec, record, engine, "bounds", planned, space, training))
    readings = [read(_as_run(row, bounds.start, bounds.end, epochs * steps), bounds.stop_at) for row in rows]
    found = interval(readings, bounds.end)
    if found.low is None or found.high is None:
        raise StudyError(f"bounds: {found.verdict}; give space.max_lr a range {{low, high, log: true}} instead")
    artefact = {"low": found.low, "high": found.high, "verdict": found.verdict, "steps": epochs * steps}
    return record.write("bounds", {**artefact, "runs": [asdict(reading) for reading in readings]})


def _range(values: list[float]) -> Float:
    return Float(min(values), max(values))


def _as_run(row: TrialRow, start: float, end: float, total: int) -> Run:
    losses = np.array([np.nan if loss is None else loss for loss in row.step_losses])
    lrs = Ramp(start=start, end=end).curves(None, total).lr[: len(losses)]
    return Run(row.seed, float(row.params["weight_decay"]), lrs, losses)
