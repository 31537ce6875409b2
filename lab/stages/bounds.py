"""Stage 1: learning-rate range tests, whose interval becomes the range of `max_lr`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from lab.errors import StudyError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job, task_of
from lab.range_test import Reading, Run, agree, read
from lab.record.folder import Record
from lab.record.trials import TrialRow
from lab.schedules import Floats, Ramp
from lab.spec.batch_size import BATCH_SIZE, batch_size_of
from lab.spec.optimizer import OPTIMIZER
from lab.spec.points import template_params
from lab.spec.space import Choice, Float, Params, Space, ends
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages.job import run_job
from lab.stages.stage import Skipped, Stage, Trainings


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the range tests agree on (see `Agreement`), and each of them."""

    suggestion: float
    sure: tuple[float, float] | None
    marks: tuple[float, float] | None = None
    low: float
    high: float
    weight_decay: float | None
    verdict: str
    steps: int = 0
    """Optimizer steps of a test."""
    at: Params = field(default_factory=dict)
    """Batch size and optimizer of the tests, where these are searched."""
    trials: int = 0
    runs: tuple[Reading, ...]


def run(spec: StudySpec, record: Record, engine: Engine) -> Bounds | Skipped:
    """Range tests over seeds and weight decays, if the space asks for their interval.

    Raises:
        StudyError: the tests say nothing, so a range has to be given.
    """
    from lab.tasks.task import Task
    from lab.training.trainer import steps_per_epoch

    if not spec.needs_range_test:
        return Skipped("the spec gives max_lr's range itself")
    task = task_of(spec)
    if not isinstance(task, Task):
        raise StudyError("space.max_lr: a trial function has no range test; give low and high, and no 'from: bounds'")
    bounds = spec.bounds
    own = {BATCH_SIZE: spec.batch_size, OPTIMIZER: spec.optimizer.get("kind", "adamw")}
    middle = template_params(spec.space, own)
    base = {name: value for name, value in middle.items() if name not in ("max_lr", "cycles")}
    training = replace(spec.training(), batch_size=batch_size_of(spec.batch_size, base))
    epoch_steps = steps_per_epoch(len(task.data("train")[0]), training)
    epochs = -(-bounds.steps // epoch_steps)
    steps = -(-bounds.steps // epochs)  # of each, so that no more are trained than were asked for
    training = replace(training, epoch_steps=steps, record_losses=True, stop_at=bounds.stop_at)
    ramp = Ramp(start=bounds.start, end=bounds.end, exponential=bounds.exponential)
    weight_decays = bounds.affordable(spec.search.trials * spec.search.epochs * epoch_steps)
    grid = {"weight_decay": weight_decays} | ({"dropout": bounds.dropouts} if bounds.dropouts else {})
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    kinds: list[dict[str, Any]] = [{OPTIMIZER: kind} for kind in _optimizers(spec, base)] or [{}]
    planned = tuple(
        Trial(
            params={**base, **kind, **point},
            seed=derive_seed(spec.seed, "bounds", seed),
            epochs=epochs,
            role=", ".join([*kind.values(), *(f"{name}={value:g}" for name, value in point.items())]),
            own_schedule=replace(ramp, weight_decay=point["weight_decay"]),
        )
        for kind in kinds
        for point in points
        for seed in range(bounds.seeds)
    )
    fixed = {name: Choice((value,)) for name, value in base.items()}
    fixed |= {name: Choice(tuple(kind[name] for kind in kinds)) for name in kinds[0]}
    space = Space({**fixed, **{name: Float(min(values), max(values)) for name, values in grid.items()}})
    rows = run_job(spec, record, engine, make_job(spec, record, engine, "bounds", planned, space, training))
    lrs = ramp.curves(None, epochs * steps).lr
    readings = [
        [read(_as_run(row, lrs), bounds.stop_at) for row in rows if kind.items() <= row.params.items()]
        for kind in kinds
    ]
    first, *others = (agree(of_kind, bounds.end) for of_kind in readings)
    if first.low is None or first.high is None:
        if not spec.space.needs_bounds:
            return Skipped(f"the range test says nothing ({first.verdict}): no prior")
        raise StudyError(f"range test: {first.verdict}; give space.max_lr a range {{low, high, log: true}} instead")
    agreed = replace(
        first,
        low=min([first.low, *(other.low for other in others if other.low is not None)]),
        high=max([first.high, *(other.high for other in others if other.high is not None)]),
    )
    at = {name: {**base, **kinds[0]}[name] for name in own if name in base}
    return Bounds(**asdict(agreed), steps=epochs * steps, at=at, trials=len(rows), runs=tuple(readings[0]))


def _optimizers(spec: StudySpec, base: Params) -> list[str]:
    """The kinds that are searched, beginning with that of `base`: their rates lie far apart, and all must be in range.

    Nothing else is told of the others: suggestion and curves are those of the first.
    """
    kinds = [str(kind) for kind in ends(spec.space[OPTIMIZER])] if OPTIMIZER in base else []
    return sorted(kinds, key=lambda kind: kind != base[OPTIMIZER])


def _as_run(row: TrialRow, lrs: Floats) -> Run:
    losses = np.array([np.nan if loss is None else loss for loss in row.step_losses])
    return Run(row.trial.seed, float(row.params["weight_decay"]), lrs[: len(losses)], losses)


def _trainings(spec: StudySpec, epoch_steps: float | None) -> Trainings:
    search_steps = None if epoch_steps is None else spec.search.trials * spec.search.epochs * epoch_steps
    kinds = len(ends(spec.space[OPTIMIZER])) if OPTIMIZER in spec.space else 1
    tests = kinds * len(spec.bounds.affordable(search_steps)) * spec.bounds.seeds if spec.needs_range_test else 0
    return Trainings(tests, 0, tests * spec.bounds.steps)


def _headline(artefact: Bounds) -> str:
    at = ", ".join(f"{name} {value}" for name, value in artefact.at.items())
    return f"max_lr between {artefact.low:.2g} and {artefact.high:.2g}" + (f", at {at}" if at else "")


STAGE = Stage("bounds", run, (Bounds,), _headline, _trainings, extended="stays")
