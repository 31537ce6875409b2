"""Options of a task that nobody has decided are searched: the study tries them with and without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lab.spec.space import Choice, Space, Value
from lab.spec.study import StudySpec
from lab.tasks.builtin import BUILTIN
from lab.tasks.load import load_task, undecided_of

if TYPE_CHECKING:
    from lab.tasks.task import Task


def with_undecided(spec: StudySpec, load: bool = True) -> StudySpec:
    """The spec with every undecided option among its hyperparameters; what it searches already stays as it is.

    Args:
        load: whether a user's own code is run to know.

    Raises:
        LabError: as `lab.tasks.load.load_task`.
    """
    if load and spec.task.kind not in BUILTIN:
        task = load_task(spec.task)  # kept: a user's constructor may read its data
        if hasattr(task, "undecided"):
            spec = spec.model_copy(update={"task": replace(spec.task, opened=task)})
    more = {name: Choice(u.values) for name, u in undecided_of(spec.task, load).items() if name not in spec.space}
    return spec.model_copy(update={"space": Space({**spec.space, **more})}) if more else spec


def lines(spec: StudySpec, load: bool = True) -> tuple[str, ...]:
    """What is tried, and how to decide it, for people: a line for each option."""
    return tuple(
        f"{name}: tried with and without (task.{name}: {' or '.join(map(_shown, undecided.values[::-1]))} decides it)"
        for name, undecided in undecided_of(spec.task, load).items()
        if name in spec.space
    )


def assumed(task: Task, spec: StudySpec) -> dict[str, Value]:
    """What a study that has begun takes for undecided options which it does not search: an earlier version began it."""
    return {name: u.earlier for name, u in task.undecided.items() if name not in spec.space}


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
