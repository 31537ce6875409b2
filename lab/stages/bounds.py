"""Stage 1: learning-rate range tests, and short trainings around what they suggest; they make the range of `max_lr`."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.errors import StudyError
from lab.lanes.engine import Engine
from lab.lanes.job import make_job, task_of
from lab.range_test import HALF_DECADE, Agreement, Decision, Reading, Run, Tried, agree, decide, read
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.schedules import Floats, Ramp
from lab.spec.batch_size import BATCH_SIZE, batch_size_of
from lab.spec.optimizer import OPTIMIZER
from lab.spec.plan import Job, Training
from lab.spec.points import template_params
from lab.spec.space import Choice, Float, Params, Space, ends
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages import short_trials
from lab.stages.job import run_job
from lab.stages.stage import Skipped, Stage, Trainings

if TYPE_CHECKING:
    from lab.tasks.task import Task


_LONGER = (3, 9)
"""Times the steps that were asked for, which tests have that follow one that says nothing: the loss of a net that
begins with embeddings falls late."""
_MOST_OF_SEARCH = 0.25
"""Optimizer steps of the search, as many of which longer tests may take."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the range tests agree on (see `Agreement`), each of them, and what short trainings made of it."""

    suggestion: float
    """The max_lr with which a 1cycle of the search's length is expected to do best."""
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
    """Range tests and short trainings."""
    runs: tuple[Reading, ...]
    tried: tuple[Tried, ...] = ()
    """The rates of the short trainings, in rising order."""
    by_curve: float | None = None
    """The suggestion of the range tests alone, where short trainings have decided on another or on the same."""

    @property
    def short_trainings(self) -> int:
        """How many 1cycle trainings there were at these rates."""
        return sum(len(one.scores) for one in self.tried)


def run(spec: StudySpec, record: Record, engine: Engine) -> Bounds | Skipped:
    """Range tests over seeds and weight decays, if the space asks for their interval; then, where the search is long
    enough to afford them, short trainings around the suggestion.

    Raises:
        StudyError: the tests say nothing, so a range has to be given.
    """
    from lab.tasks.task import Task

    if not spec.needs_range_test:
        return Skipped("the spec gives max_lr's range itself")
    task = task_of(spec)
    if not isinstance(task, Task):
        raise StudyError("space.max_lr: a trial function has no range test; give low and high, and no 'from: bounds'")
    own = {BATCH_SIZE: spec.batch_size, OPTIMIZER: spec.optimizer.get("kind", "adamw")}
    middle = template_params(spec.space, own)
    base = {name: value for name, value in middle.items() if name not in ("max_lr", "cycles")}
    tests = _tests(spec, task, base)
    tested = tests.run(record, engine)
    first, *others = tested.agreements
    if first.low is None or first.high is None:
        if not spec.space.needs_bounds:
            return Skipped(f"the range test says nothing ({first.verdict}, in {tested.steps} steps): no prior")
        raise StudyError(
            f"range test: {first.verdict}, in {tested.steps} steps; give space.max_lr a range {{low, high, log: true}} "
            "instead"
        )
    assert first.suggestion is not None  # where there is a range
    one_cycle = template_params(spec.space, own | {"cycles": 1}) | ({"cycles": 1} if "cycles" in spec.space else {})
    params = {name: value for name, value in one_cycle.items() if name != "max_lr"}
    tried = short_trials.try_rates(spec, record, engine, tested.job, params, first.suggestion)
    decision = decide(tried, first.suggestion, tested.job.direction)
    agreed = first if decision is None else _decided(first, decision)
    agreed = replace(
        agreed,
        low=min([low for low in (agreed.low, *(other.low for other in others)) if low is not None]),
        high=max([high for high in (agreed.high, *(other.high for other in others)) if high is not None]),
    )
    at = {name: {**base, **tests.kinds[0]}[name] for name in own if name in base}
    return Bounds(
        **asdict(agreed),
        steps=tested.steps,
        at=at,
        trials=len(tested.plan) + sum(len(one.scores) for one in tried),
        runs=tested.readings,
        tried=tried,
        by_curve=None if decision is None else first.suggestion,
    )


@dataclass(frozen=True)
class _Tested:
    """The tests of the first length that says something, or of the longest."""

    job: Job
    plan: tuple[Trial, ...]
    """That of the job: the tests of all lengths, one after the other."""
    steps: int
    agreements: tuple[Agreement, ...]
    """One for each optimizer, that of the spec first."""
    readings: tuple[Reading, ...]
    """Those of the spec's optimizer."""


@dataclass(frozen=True)
class _Tests:
    """Range tests over optimizers, weight decays and dropouts, of any length."""

    spec: StudySpec
    base: Params
    kinds: tuple[dict[str, Any], ...]
    """The optimizers, where they are searched, that of the spec first."""
    points: tuple[dict[str, float], ...]
    ramp: Ramp
    space: Space
    training: Training
    epoch_steps: int

    def run(self, record: Record, engine: Engine) -> _Tested:
        """Tests of the steps that were asked for; longer ones as long as these say nothing."""
        epochs, steps = self._length(1)
        tested = self._test(record, engine, (), epochs, steps)
        for times in _LONGER:
            epochs, steps = self._length(times)
            # A study that would end with a line has one longer test whatever it costs.
            owed = times == _LONGER[0] and self.spec.space.needs_bounds
            if tested.agreements[0].low is not None or not (owed or self._affordable(epochs * steps)):
                break
            _LOG.info("bounds    %s; tests of %d steps follow", tested.agreements[0].verdict, epochs * steps)
            tested = self._test(record, engine, tested.plan, epochs, steps)
        return tested

    def _length(self, times: int) -> tuple[int, int]:
        """Epochs, and steps of each, so that no more are trained than were asked for."""
        steps = times * self.spec.bounds.steps
        epochs = -(-steps // self.epoch_steps)
        return epochs, -(-steps // epochs)

    def _affordable(self, steps: int) -> bool:
        search = self.spec.search
        tests = len(self.kinds) * len(self.points) * self.spec.bounds.seeds
        return tests * steps <= _MOST_OF_SEARCH * search.trials * search.epochs * self.epoch_steps

    def _test(self, record: Record, engine: Engine, before: tuple[Trial, ...], epochs: int, steps: int) -> _Tested:
        """Tests of one length; the plan only grows, so that an interrupted one goes on where it was."""
        spec, plan = self.spec, (*before, *self._planned(epochs))
        job = make_job(spec, record, engine, "bounds", plan, self.space, replace(self.training, epoch_steps=steps))
        # What comes later in the same stage is trained otherwise, and must not be taken up by the job of these tests.
        rows = (_ended(spec, record, plan) or run_job(spec, record, engine, job))[len(before) :]
        lrs, bounds = self.ramp.curves(None, epochs * steps).lr, spec.bounds
        readings = [
            tuple(read(_as_run(row, lrs), bounds.stop_at) for row in rows if kind.items() <= row.params.items())
            for kind in self.kinds
        ]
        agreements = tuple(agree(of_kind, bounds.end) for of_kind in readings)
        return _Tested(job, plan, epochs * steps, agreements, readings[0])

    def _planned(self, epochs: int) -> tuple[Trial, ...]:
        return tuple(
            Trial(
                params={**self.base, **kind, **point},
                seed=derive_seed(self.spec.seed, "bounds", seed),
                epochs=epochs,
                role=", ".join([*kind.values(), *(f"{name}={value:g}" for name, value in point.items())]),
                own_schedule=replace(self.ramp, weight_decay=point["weight_decay"]),
            )
            for kind in self.kinds
            for point in self.points
            for seed in range(self.spec.bounds.seeds)
        )


def _tests(spec: StudySpec, task: Task, base: Params) -> _Tests:
    from lab.tasks.build import group_count
    from lab.training.trainer import steps_per_epoch

    bounds = spec.bounds
    training = replace(
        spec.training(),
        batch_size=batch_size_of(spec.batch_size, base),
        record_losses=True,
        stop_at=bounds.stop_at,
    )
    epoch_steps = steps_per_epoch(len(task.data("train")[0]), training)
    groups = group_count(task, base)  # their rates lie as far apart as they will
    divisor = spec.schedule.divisor(groups) if groups > 1 else None
    ramp = Ramp(start=bounds.start, end=bounds.end, exponential=bounds.exponential, lr_divisor=divisor)
    weight_decays = bounds.affordable(spec.search.trials * spec.search.epochs * epoch_steps)
    grid = {"weight_decay": weight_decays} | ({"dropout": bounds.dropouts} if bounds.dropouts else {})
    points = tuple(dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
    kinds: tuple[dict[str, Any], ...] = tuple({OPTIMIZER: kind} for kind in _optimizers(spec, base)) or ({},)
    fixed = {name: Choice((value,)) for name, value in base.items()}
    fixed |= {name: Choice(tuple(kind[name] for kind in kinds)) for name in kinds[0]}
    space = Space({**fixed, **{name: Float(min(values), max(values)) for name, values in grid.items()}})
    return _Tests(spec, base, kinds, points, ramp, space, training, epoch_steps)


def _decided(agreed: Agreement, decision: Decision) -> Agreement:
    """The range ends at a rate that is surely worse; where none is, half a decade beyond the best rate or later."""
    assert agreed.low is not None  # as above
    assert agreed.high is not None
    best = decision.suggestion
    return replace(
        agreed,
        suggestion=best,
        low=min(agreed.low, best / HALF_DECADE) if decision.low is None else decision.low,
        high=max(agreed.high, best * HALF_DECADE) if decision.high is None else decision.high,
    )


def _ended(spec: StudySpec, record: Record, planned: tuple[Trial, ...]) -> list[TrialRow]:
    """The trials of this plan, where all of them have ended; else none."""
    rows = {row.plan_index: row for row in read_trials(record, "bounds", spec.store) if row.outcome is not None}
    mine = [row for index in range(len(planned)) if (row := rows.get(index)) is not None]
    same = [(row.trial.seed, row.trial.epochs) for row in mine] == [(trial.seed, trial.epochs) for trial in planned]
    return mine if same else []


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
    if not spec.needs_range_test:
        return Trainings(0, 0)
    tests, short = kinds * len(spec.bounds.affordable(search_steps)) * spec.bounds.seeds, short_trials.at_most(spec)
    return Trainings(tests + short, short * short_trials.epochs_of(spec), tests * spec.bounds.steps)


def _headline(artefact: Bounds) -> str:
    at = ", ".join(f"{name} {value}" for name, value in artefact.at.items())
    return f"max_lr between {artefact.low:.2g} and {artefact.high:.2g}" + (f", at {at}" if at else "")


STAGE = Stage("bounds", run, (Bounds,), _headline, _trainings, extended="stays")
