"""What the stages that train have in common: running a job, and reading the trials that came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lab.errors import StudyError
from lab.lanes.engine import Engine
from lab.lanes.job import task_of
from lab.record.checkpoints import Checkpoints
from lab.record.folder import Record
from lab.record.snapshots import snapshots_of
from lab.record.trials import TrialRow, read_trials
from lab.spec.folds import Folds
from lab.spec.limits import Limit
from lab.spec.plan import Job
from lab.spec.space import Choice, Params, Space
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome, Trial


def run_job(spec: StudySpec, record: Record, engine: Engine, job: Job) -> list[TrialRow]:
    """Run a job and give its trials back, in the order in which they were planned."""
    engine.run(job)
    Checkpoints(job.folder, job.stage).clear()  # all trials have ended: nothing goes on from them any more
    rows = read_trials(record, job.stage, spec.store)
    return sorted(rows, key=lambda row: row.plan_index if row.plan_index is not None else row.turn)


def run_aside(
    spec: StudySpec, work: Path, engine: Engine, job: Job, what: str, advice: str
) -> list[tuple[Trial, Path]]:
    """Run a job in a folder of its own, so that nothing of the study changes: the trials that completed, each with the
    file of its weights. Interrupted, it goes on when it is run again.

    Raises:
        StudyError: none completed; see `completed`.
    """
    alone = spec.model_copy(update={"storage": None})
    rows = run_job(alone, Record(work), engine, replace(job, folder=work.resolve(), store=None))
    good = completed(rows, what, advice)
    weights = work / job.training.weights
    return [(row.trial, snapshots_of(weights, row.number)[-1]) for row in good]


def folds_in(spec: StudySpec) -> Folds | None:
    """The folds of the study's rows, where it has any."""
    from lab.tasks.folds import folds_of  # here: whoever lists stages needs no torch
    from lab.tasks.task import Task

    task = task_of(spec)
    return folds_of(task) if isinstance(task, Task) else None


def completed(rows: list[TrialRow], what: str, advice: str) -> list[TrialRow]:
    """The completed trials.

    Raises:
        StudyError: there are none; see `no_trial`.
    """
    good = [row for row in rows if row.outcome is Outcome.COMPLETED and row.score is not None]
    if good:
        return good
    raise no_trial(rows, what, advice)


def no_trial(rows: list[TrialRow], what: str, advice: str) -> StudyError:
    """That none of these trials completed: with their outcomes, the last reason, and what to try."""
    counts = {o: sum(row.outcome is o for row in rows) for o in Outcome}
    ended = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
    reason = next((row.detail.splitlines()[-1] for row in reversed(rows) if row.detail), "")
    return StudyError(f"{what}: no trial completed ({ended}{': ' + reason if reason else ''}); {advice}")


def refuse_infeasible(rows: list[TrialRow], what: str, limits: Sequence[Limit]) -> None:
    """Refuse to go on where constraints have left no trial.

    Raises:
        StudyError: with what came nearest to each constraint that was broken.
    """
    over = [row for row in rows if row.outcome is Outcome.INFEASIBLE]
    if not over or any(row.outcome is Outcome.COMPLETED for row in rows):
        return
    nearest = "; ".join(filter(None, (_nearest(limit, over) for limit in limits)))
    said = f"{what} none meets search.constraints ({len(over)} infeasible: {nearest or over[-1].detail})"
    raise StudyError(f"{said}; a new --dir needs looser ones, or a space that reaches below them")


def _nearest(limit: Limit, over: Sequence[TrialRow]) -> str:
    """The nearest that a trial came to a limit, where none has met it."""
    values = [value for row in over if (value := row.metrics.get(limit.name)) is not None]
    if not values:
        return f"{limit.name} was not measured"
    value = max(values) if limit.at_least else min(values)
    end = "most" if limit.at_least else "least"
    return (said := limit.broken({limit.name: value})) and f"at the {end} {said}"


def best_first(rows: list[TrialRow], direction: str) -> list[TrialRow]:
    """Completed trials, best score first; earlier trials first among equals."""
    sign = -1.0 if direction == "maximize" else 1.0
    return sorted(rows, key=lambda row: (sign * (row.score if row.score is not None else np.inf), row.turn))


def with_cycles(params: Params, cycles: int) -> Params:
    """The same hyperparameters trained in another number of cycles."""
    return {**params, "cycles": cycles}


def open_to_cycles(space: Space, cycles: tuple[int, ...]) -> Space:
    """The space, able to hold trials with these cycle counts."""
    return Space({**space, "cycles": Choice(tuple(dict.fromkeys(cycles)))})
