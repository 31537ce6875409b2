"""What is refused of a spec before anything starts: components that there are not, and hyperparameters that nothing
reads. Such a one is a slip of the pen, and would be searched to no effect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.errors import SpecError, nearest
from lab.schedules import schedule_class
from lab.spec.batch_size import BATCH_SIZE, batch_sizes
from lab.spec.bounds import without_range_test
from lab.spec.init import INIT, check_init
from lab.spec.optimizer import check_optimizer, optimizer_names
from lab.spec.plan import Recipe, TaskRef
from lab.spec.processes import processes_of
from lab.spec.space import Choice, Dimension, between, ends
from lab.spec.study import StudySpec
from lab.tasks.builtin import BUILTIN
from lab.tasks.load import check_reference

if TYPE_CHECKING:
    from lab.tasks.task import Task


def always_read(recipe: Recipe, optimizer: Mapping[str, Any], space: Mapping[str, Dimension]) -> tuple[str, ...]:
    """What schedules, optimizer and batches take from a trial's hyperparameters, whatever the task."""
    schedules = [f.name for base in (recipe.one, recipe.several) for f in fields(schedule_class(base.get("kind")))]
    return tuple(dict.fromkeys(["cycles", *schedules, *optimizer_names(optimizer, space), BATCH_SIZE, INIT]))


def check_read(space: Mapping[str, Dimension], always: tuple[str, ...], kind: str) -> None:
    """Refuse a hyperparameter that a built-in task does not know, nor anything else, and values that it cannot have.

    Raises:
        SpecError: with what is read, or with the values allowed.
    """
    if kind not in BUILTIN:
        return
    reads = BUILTIN[kind].reads
    names = (*always, *reads)
    for name, dimension in space.items():
        if name not in names:
            raise SpecError(f"space.{name}", f"nothing reads it{nearest(name, names)}; read are {', '.join(names)}")
        low, high = reads.get(name, (-math.inf, math.inf))
        for value in ends(dimension) if name in reads else ():
            if not isinstance(value, (int, float)) or not low <= value < high:
                allowed = f"at least {low:g}" + (f" and below {high:g}" if math.isfinite(high) else "")
                raise SpecError(f"space.{name}", f"{value!r} is not {allowed}")


def check_settled(space: Mapping[str, Dimension], ref: TaskRef) -> None:
    """Refuse a hyperparameter that the options of a built-in task leave nothing to search of.

    Raises:
        SpecError: with the reason.
    """
    settled = BUILTIN[ref.kind].options.parse(ref.options).settled() if ref.kind in BUILTIN else {}
    for name in space:
        if name in settled:
            raise SpecError(f"space.{name}", settled[name])


def check_values(space: Mapping[str, Dimension], ref: TaskRef) -> None:
    """Refuse values of a hyperparameter with which no model of a built-in task can be made.

    Raises:
        SpecError: with the first of them.
    """
    if ref.kind not in BUILTIN:
        return
    options = BUILTIN[ref.kind].options.parse(ref.options)
    for name, dimension in space.items():
        for value in between(dimension):
            if why := options.refused(name, value):
                also = "" if isinstance(dimension, Choice) else "; give a choice of values"
                raise SpecError(f"space.{name}", f"{value!r} {why}{also}")


def check_beside(spec: StudySpec, kind: str) -> None:
    """Refuse hyperparameters of a built-in task that a target of this kind leaves nothing to say of.

    Args:
        kind: as in `Description`.

    Raises:
        SpecError: with the reason.
    """
    if spec.task.kind not in BUILTIN or not kind:
        return
    options = BUILTIN[spec.task.kind].options.parse(spec.task.options)
    for name, reason in options.beside(kind).items():
        if name in spec.space:
            raise SpecError(f"space.{name}", reason)


def check_adapter(schedule: Recipe, space: Mapping[str, Dimension], ref: TaskRef) -> None:
    """Refuse a schedule for whole bodies, which would hardly train an adapter: that takes rates as a head does.

    Raises:
        SpecError: with what is needed.
    """
    if ref.kind not in BUILTIN or ref.options.get("adapter") is None or "lr_divisor" in space:
        return
    for section, base in (("one", schedule.one), ("several", schedule.several)):
        if schedule_class(base.get("kind")).freezes and base.get("lr_divisor") is None:
            raise SpecError(
                f"schedule.{section}.lr_divisor",
                f"is needed beside task.adapter: by itself {base['kind']} trains a body at a hundredth of the head's "
                "rate; at 1 adapters have that of the head",
            )


def unread(task: Task, settings: Iterable[Mapping[str, Any]], always: tuple[str, ...]) -> tuple[str, ...]:
    """Hyperparameters that a task of the user's own was not seen to read, when its model was built and a batch was
    drawn at each of a few settings."""
    asked: set[str] = set()
    names: dict[str, None] = {}
    try:
        import torch

        with torch.random.fork_rng(devices=[]):
            for params in settings:
                names |= dict.fromkeys(params)
                task.model(_Watched(params, asked))
                task.draw(1, np.random.default_rng(0), _Watched(params, asked))
    except (Exception, SystemExit):  # it may raise anything; the contract's check says what
        return ()
    return tuple(name for name in names if name not in asked and name not in always)


def check_components(spec: StudySpec, *, begun: bool = False) -> None:
    """Refuse unknown tasks, samplers and pruners, and optimizers and batch sizes that cannot be.

    Args:
        begun: whether the study goes on: then what it searches to no effect stays, as an earlier version let it.

    Raises:
        SpecError: with the choices.
    """
    # Here, not above: whoever looks at a study needs no sampler, nor SciPy.
    from lab.search.by_name import build_pruner, sampler_source

    if spec.task.instance is None:
        check_reference(spec.task)
    if spec.storage is not None:
        from lab.record.database import check_url  # SQLAlchemy takes .1 s, and most studies have no database

        check_url(spec.storage)
    sampler_source(without_range_test(spec.search.sampler), spec.seed, {})
    build_pruner(spec.search.pruner, spec.search.epochs, spec.seed)
    # A trial function's hyperparameters may be called anything; what a user's file holds is known when it is read.
    searched = spec.space if spec.task.kind in BUILTIN else {}
    check_optimizer(spec.optimizer, searched)
    batch_sizes(spec.batch_size, searched)
    check_init(searched)
    check_read(searched, always_read(spec.schedule, spec.optimizer, searched), spec.task.kind)
    if not begun:
        check_settled(searched, spec.task)
    # Whoever says so many means a task: a trial function trains in one process.
    if spec.task.kind in BUILTIN or spec.execution.processes not in (1, "auto") or spec.execution.sharded:
        processes_of(spec)
    if spec.execution.engine == "local" and spec.execution.device not in ("auto", "cpu"):
        from lab.training.device import pick_device  # torch, for few

        pick_device(spec.execution.device)
    check_adapter(spec.schedule, searched, spec.task)


def unread_doubts(spec: StudySpec) -> tuple[str, ...]:
    """Lines on options of a built-in task that no model of it reads, and on hyperparameters that a task of the user's
    own was not seen to read."""
    if spec.task.kind in BUILTIN:
        return BUILTIN[spec.task.kind].options.parse(spec.task.options).unused()
    from lab.spec.points import corner_params
    from lab.tasks.load import load_task  # torch, for few
    from lab.tasks.task import Task

    task = load_task(spec.task)
    if not isinstance(task, Task):
        return ()
    names = unread(task, corner_params(spec.space), always_read(spec.schedule, spec.optimizer, spec.space))
    return tuple(f"space.{name}: the task was not seen to read it; then it is searched to no effect" for name in names)


class _Watched(dict[str, Any]):
    """A trial's hyperparameters that note which of them are asked for; who goes through all has asked for all."""

    def __init__(self, params: Mapping[str, Any], asked: set[str]) -> None:
        super().__init__(params)
        self._asked = asked

    def __getitem__(self, name: str) -> Any:
        self._asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._asked.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._asked.add(name)
        return super().pop(name, *default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def keys(self) -> Any:
        return self._all().keys()

    def values(self) -> Any:
        return self._all().values()

    def items(self) -> Any:
        return self._all().items()

    def copy(self) -> dict[str, Any]:
        return self._all()

    def _all(self) -> dict[str, Any]:
        values = dict(super().items())
        self._asked.update(values)
        return values
