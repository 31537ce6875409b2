"""Which hyperparameters anything reads: one that nothing does is a slip of the pen, and would be searched to no
effect."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.errors import SpecError, nearest
from lab.schedules import schedule_class
from lab.spec.batch_size import BATCH_SIZE
from lab.spec.optimizer import optimizer_names
from lab.spec.plan import Recipe
from lab.spec.space import Dimension, ends
from lab.tasks.builtin import BUILTIN

if TYPE_CHECKING:
    from lab.tasks.task import Task


def always_read(recipe: Recipe, optimizer: Mapping[str, Any], space: Mapping[str, Dimension]) -> tuple[str, ...]:
    """What schedules, optimizer and batches take from a trial's hyperparameters, whatever the task."""
    schedules = [f.name for base in (recipe.one, recipe.several) for f in fields(schedule_class(base.get("kind")))]
    return tuple(dict.fromkeys(["cycles", *schedules, *optimizer_names(optimizer, space), BATCH_SIZE]))


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
