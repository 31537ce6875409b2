"""Schedules made of schedules: one after another, after a warm-up, or scaled."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np

from lab.errors import SpecError
from lab.schedules.base import Schedule, at_least, within
from lab.schedules.curve_source import Curves
from lab.schedules.curves import Floats, Ints, decimal, fraction, linear, portion

HANDED = ("max_lr", "cycles", "weight_decay")
"""What a composition hands to the schedules inside it."""


@dataclass(frozen=True, kw_only=True)
class Composed(Schedule):
    """A schedule made of others; `max_lr`, `cycles` and `weight_decay`, when given, replace theirs.

    So a study can search them by name. A schedule inside that has no such field stays as it is; `cycles: 1` suits
    them all, for one without cycles has one.
    """

    max_lr: float | None = None
    cycles: int | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        replaced = {name: getattr(self, name) for name in HANDED if getattr(self, name) is not None}
        for name, value in replaced.items():
            taken = any(name in _names(part) for _, part in self._inside())
            if not taken and (name, value) != ("cycles", 1):
                raise SpecError(f"schedule.{name}", "no schedule inside has such a field")
        handed = []
        for path, part in self._inside():
            with within(path):
                handed.append(replace(part, **{name: replaced[name] for name in replaced if name in _names(part)}))
        self._hand(handed)

    @abstractmethod
    def _inside(self) -> list[tuple[str, Schedule]]:
        """Each schedule inside with its place in the spec."""

    @abstractmethod
    def _hand(self, schedules: list[Schedule]) -> None:
        """Take the schedules inside anew, in the order of `_inside`."""


def _names(schedule: Schedule) -> set[str]:
    return {field.name for field in fields(schedule)}


@dataclass(frozen=True, kw_only=True)
class Join(Composed):
    """Schedules one after another; each runs from its starting to its final value within its own steps.

    `shares` are the parts' lengths relative to each other (equal ones by default), boundaries computed exactly
    and rounded down once; or `steps` gives the lengths of all parts but the last, which has the rest. A part
    that gets a single step has its starting value.

    >>> Join(parts=(FlatCosine(max_lr=1), FGE(max_lr=0.5)), shares=(2, 1)).picture()
    '█████████████████████████▇▆▅▃▂▁▁▅▂▃▅▃▂▃▅▃▂▃▅▃▂▃▅'

    Source: Garipov et al. 2018 (arXiv 1802.10026) and Hu et al. 2024 (arXiv 2404.06395) train so, for two.
    """

    kind: ClassVar[str] = "join"
    parts: tuple[Schedule, ...]
    shares: tuple[float, ...] | None = None
    steps: tuple[int, ...] | None = None

    def check(self) -> None:
        count = len(self.parts)
        if not count:
            raise SpecError("schedule.parts", "at least one schedule is needed")
        if self.shares is not None and self.steps is not None:
            raise SpecError("schedule.steps", "only one of steps and shares can be given")
        if self.shares is not None and (len(self.shares) != count or min(self.shares) <= 0):
            raise SpecError("schedule.shares", f"{list(self.shares)!r} are not {count} positive numbers, one per part")
        if self.steps is not None and (len(self.steps) != count - 1 or min(self.steps, default=1) < 1):
            raise SpecError(
                "schedule.steps",
                f"{list(self.steps)!r} are not {count - 1} positive lengths, one per part but the last",
            )

    def _inside(self) -> list[tuple[str, Schedule]]:
        return [(f"parts.{i}", part) for i, part in enumerate(self.parts)]

    def _hand(self, schedules: list[Schedule]) -> None:
        object.__setattr__(self, "parts", tuple(schedules))

    def _starts(self, total: int) -> list[int]:
        """Boundaries [parts + 1]."""
        if self.steps is not None:
            return [0, *np.cumsum(self.steps, dtype=np.int64).tolist(), total]
        lengths = [decimal(share) for share in self.shares or (1.0,) * len(self.parts)]
        whole = sum(lengths)
        return [int(total * sum(lengths[:i]) / whole) for i in range(len(lengths) + 1)]

    def check_length(self, total: int) -> None:
        for i, (start, end) in enumerate(pairwise(self._starts(total))):
            if end <= start:
                raise SpecError(f"schedule.parts.{i}", f"no step of the {total} is left for it")
            with within(f"parts.{i}"):
                self.parts[i].check_length(end - start)

    def _curves(self, steps: Ints, total: int) -> Curves:
        curves = np.empty((3, *steps.shape))
        for part, (start, end) in zip(self.parts, pairwise(self._starts(total)), strict=True):
            here = (steps >= start) & (steps < end)
            curves[:, here] = part.curves(steps[here] - start, end - start)
        return Curves(*curves)

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        spans = zip(self.parts, pairwise(self._starts(total)), strict=True)
        return tuple(start + step for part, (start, end) in spans for step in part.cycle_ends(end - start))


@dataclass(frozen=True, kw_only=True)
class Around(Composed):
    """A composition with one schedule inside."""

    schedule: Schedule

    def _inside(self) -> list[tuple[str, Schedule]]:
        return [("schedule", self.schedule)]

    def _hand(self, schedules: list[Schedule]) -> None:
        object.__setattr__(self, "schedule", schedules[0])


@dataclass(frozen=True, kw_only=True)
class Warmup(Around):
    """A linear rise from lr/div to the lr with which the schedule inside starts, then that schedule.

    At step t of w warm-up steps: lr = lr_0/div + (lr_0 - lr_0/div) t/w, with the starting momentum and weight
    decay. w is `steps`, or the `share` of the run, rounded down, at least one; the schedule has the rest.

    >>> Warmup(schedule=SGDR(max_lr=1), share=0.1).picture()
    '▁▃▅▆█▇▆▃▂▁██▇▇▆▅▄▃▂▂▁▁█████▇▇▇▆▆▆▅▅▄▄▃▃▃▂▂▂▁▁▁▁▁'

    Source: Goyal et al. 2017 (arXiv 1706.02677), section 2.2.
    """

    kind: ClassVar[str] = "warmup"
    share: float = 0.05
    steps: int | None = None
    div: float = 25.0

    def check(self) -> None:
        at_least(self, "div", 1)
        if not 0 < self.share < 1:
            raise SpecError("schedule.share", f"{self.share!r} is not between 0 and 1")
        if self.steps is not None:
            at_least(self, "steps", 1)

    def _rise(self, total: int) -> int:
        return max(portion(self.share, total), 1) if self.steps is None else self.steps

    def check_length(self, total: int) -> None:
        rise = self._rise(total)
        if rise >= total:
            raise SpecError("schedule.steps", f"{rise} steps of warm-up leave none of the {total} to the schedule")
        with within("schedule"):
            self.schedule.check_length(total - rise)

    def _curves(self, steps: Ints, total: int) -> Curves:
        rise = self._rise(total)
        after = self.schedule.curves(np.maximum(steps - rise, 0), total - rise)
        first = float(self.schedule.curves([0], total - rise).lr[0])
        warm = linear(first / self.div, first, fraction(steps, 0, rise))
        return after._replace(lr=np.where(steps < rise, warm, after.lr))

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        rise = self._rise(total)
        return tuple(rise + step for step in self.schedule.cycle_ends(total - rise))


@dataclass(frozen=True, kw_only=True)
class Scale(Around):
    """The schedule inside with `factor` times its lr; momentum and weight decay stay.

    >>> Scale(schedule=OneCycle(max_lr=1), factor=0.5).picture()
    '▁▁▂▂▃▄▅▆▆▇█████████▇▇▇▇▆▆▆▆▅▅▅▄▄▄▃▃▃▃▂▂▂▂▁▁▁▁▁▁▁'

    Source: Goyal et al. 2017 (arXiv 1706.02677), section 2.1: k times the batch, k times the lr. Also the lr of a
    parameter group, with a factor of `discriminative`.
    """

    kind: ClassVar[str] = "scale"
    factor: float

    def check(self) -> None:
        at_least(self, "factor", 0, above=True)

    def check_length(self, total: int) -> None:
        with within("schedule"):
            self.schedule.check_length(total)

    def _curves(self, steps: Ints, total: int) -> Curves:
        inside = self.schedule.curves(steps, total)
        lr: Floats = inside.lr * self.factor
        return inside._replace(lr=lr)

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        return self.schedule.cycle_ends(total)


def join(*parts: Schedule, shares: tuple[float, ...] | None = None, steps: tuple[int, ...] | None = None) -> Join:
    """`parts` one after another; see `Join`.

    Raises:
        SpecError: the lengths do not fit the parts.

    >>> halves = join(Constant(max_lr=0.1), Constant(max_lr=0.01))
    >>> [float(lr) for lr in halves.curves(None, 4).lr]
    [0.1, 0.1, 0.01, 0.01]
    """
    return Join(parts=parts, shares=shares, steps=steps)


def warmup(schedule: Schedule, *, share: float = 0.05, steps: int | None = None, div: float = 25.0) -> Warmup:
    """`schedule` after a linear rise; see `Warmup`.

    Raises:
        SpecError: a value is impossible.

    >>> lr = warmup(Constant(max_lr=0.1), steps=2, div=10).curves(None, 4).lr
    >>> float(lr[0]) < float(lr[-1]) == 0.1
    True
    """
    return Warmup(schedule=schedule, share=share, steps=steps, div=div)


def scale(schedule: Schedule, factor: float) -> Scale:
    """`schedule` with `factor` times its lr; see `Scale`.

    Raises:
        SpecError: `factor` is not above 0.

    >>> [float(lr) for lr in scale(Constant(max_lr=0.1), 0.5).curves(None, 2).lr]
    [0.05, 0.05]
    """
    return Scale(schedule=schedule, factor=factor)
