"""Makes the job that an engine can run, from a spec and its record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from lab.record.folder import Record
from lab.spec.limits import Limit
from lab.spec.plan import Direction, Job, SearchPlan, Training
from lab.spec.space import Space
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.tasks.load import load_task

if TYPE_CHECKING:
    from lab.tasks.task import Task, TrialFunction


class Lanes(Protocol):
    """What a job is made for: so many lanes."""

    @property
    def lanes(self) -> int: ...


def task_of(spec: StudySpec) -> Task | TrialFunction:
    return load_task(spec.task)


def objective_of(spec: StudySpec) -> tuple[str, Direction]:
    """What trials are compared by, and whether more of it is better."""
    if spec.search.objective == "loss":
        return "valid_loss", "minimize"
    task = task_of(spec)
    return task.metric, task.direction


def make_job(
    spec: StudySpec,
    record: Record,
    engine: Lanes,
    stage: str,
    plan: tuple[Trial, ...] | SearchPlan,
    space: Space,
    training: Training | None = None,
    limits: tuple[Limit, ...] = (),
) -> Job:
    """A stage's job, as wide as the spec's resolved width and no wider than it has trials for."""
    metric, direction = objective_of(spec)
    trials = plan.trials if isinstance(plan, SearchPlan) else len(plan)
    width = spec.execution.width if isinstance(spec.execution.width, int) else 1
    stack = spec.execution.stack if isinstance(spec.execution.stack, int) else None
    lanes = min(engine.lanes, trials)
    return Job(
        stage=stage,
        folder=record.folder.resolve(),
        task=replace(spec.task, cache=str(record.data_folder.resolve())),
        space=space,
        recipe=spec.schedule,
        training=training or spec.training(),
        direction=direction,
        metric=metric,
        seed=derive_seed(spec.seed, stage),
        width=min(width, -(-trials // lanes)),
        lanes=lanes,
        plan=plan,
        stack=stack,
        max_failed_share=spec.search.max_failed_share,
        checkpoint_s=spec.execution.checkpoint_s,
        store=spec.store,
        limits=limits,
        epoch_metrics=spec.execution.epoch_metrics,
    )
