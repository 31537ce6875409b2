"""Schedules: learning rate, momentum and weight decay as pure functions of (optimizer step, total steps).

Steps are integers, 0 <= step < total; values are float64. The first step has the schedule's starting value
and the last step its final value, exactly; asking outside the range is an error. With `total == 1` the single
step has the starting value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, nearest

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Curves(NamedTuple):
    """What a schedule says, one value per asked step."""

    lr: Floats
    momentum: Floats
    weight_decay: Floats


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A curve of lr, momentum (SGD's momentum, or Adam's beta1) and weight decay over optimizer steps."""

    kind: ClassVar[str]
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise SpecError(f"schedule.{field.name}", f"{value!r} is not true or false")
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < np.inf:
                raise SpecError(f"schedule.{field.name}", f"{value!r} is not a finite number")
            elif field.type == "int" and not isinstance(value, int):
                raise SpecError(f"schedule.{field.name}", f"{value!r} is not a whole number")
        _at_least(self, "weight_decay", 0)
        self.check()

    def check(self) -> None:  # noqa: B027 - optional: a schedule without further conditions has nothing to check
        """Refuse impossible values (`SpecError`)."""

    @abstractmethod
    def _lr(self, steps: Ints, total: int) -> Floats: ...

    @abstractmethod
    def _momentum(self, steps: Ints, total: int) -> Floats: ...

    def curves(self, steps: Ints | None, total: int) -> Curves:
        """Values at `steps` [n] (all of them when None) of a run of `total` steps, each [n].

        Raises:
            SpecError: `total` < 1, or too short for this schedule's cycles.
            IndexError: a step outside [0, total).
        """
        if total < 1:
            raise SpecError("schedule.total", f"{total!r} is not at least 1")
        if steps is None:
            steps = np.arange(total, dtype=np.int64)
        if steps.size and (steps.min() < 0 or steps.max() >= total):
            raise IndexError(f"step {steps.min()}..{steps.max()} is outside the schedule's 0..{total - 1}")
        decay = np.full(steps.shape, self.weight_decay, dtype=np.float64)
        return Curves(self._lr(steps, total), self._momentum(steps, total), decay)

    def cycle_ends(self, total: int) -> tuple[int, ...]:
        """The last step of each cycle: where a snapshot is taken after the optimizer has stepped."""
        return (total - 1,)

    def table(self, total: int) -> pd.DataFrame:
        """Every step of a run as a table: step, lr, momentum, weight_decay."""
        import pandas as pd

        return pd.DataFrame({"step": np.arange(total), **self.curves(None, total)._asdict()})

    def to_dict(self) -> dict[str, Any]:
        """The schedule as a spec writes it; `parse_schedule` is the inverse."""
        return {"kind": self.kind, **asdict(self)}


def _at_least(schedule: Schedule, name: str, low: float, *, above: bool = False) -> None:
    value = getattr(schedule, name)
    if value < low or (above and value == low):
        bound = f"above {low}" if above else f"at least {low}"
        raise SpecError(f"schedule.{name}", f"{value!r} is not {bound}")


def _fraction(steps: Ints, first: Ints | int, last: Ints | int) -> Floats:
    """Position of each step between `first` (0.) and `last` (1.); 0. where both are the same step."""
    span = np.asarray(last, dtype=np.float64) - first
    return np.divide(steps - first, span, out=np.zeros(steps.shape), where=span > 0)


def _cosine(start: float, end: float, p: Floats) -> Floats:
    """Half a cosine from start (p=0) to end (p=1), exact at both ends."""
    cos = np.where(p == 0, 1.0, np.where(p == 1, -1.0, np.cos(np.pi * p)))
    return np.asarray(end + (start - end) * (1 + cos) / 2, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Smith's 1cycle as fastai anneals it: cosine warm-up, then cosine to almost nothing; momentum mirrors lr.

    lr: max_lr/div -> max_lr over the first `pct_start` of the steps, then -> max_lr/final_div.
    Source: Smith & Topin 2017 (arXiv 1708.07120); constants of fastai 2.8 `fit_one_cycle`.
    Unlike there, the last applied step has the final value (fastai never reaches it).
    """

    kind: ClassVar[str] = "one_cycle"
    max_lr: float
    pct_start: float = 0.25
    div: float = 25.0
    final_div: float = 1e5
    momentum_high: float = 0.95
    momentum_low: float = 0.85

    def check(self) -> None:
        _at_least(self, "max_lr", 0, above=True)
        _at_least(self, "div", 1)
        _at_least(self, "final_div", 1)
        if not 0 < self.pct_start < 1:
            raise SpecError("schedule.pct_start", f"{self.pct_start!r} is not between 0 and 1")
        if not 0 <= self.momentum_low <= self.momentum_high < 1:
            raise SpecError("schedule.momentum_low", "0 <= momentum_low <= momentum_high < 1 is needed")

    def _peak(self, total: int) -> int:
        return min(max(round(self.pct_start * (total - 1)), 1), max(total - 2, 0))

    def _two_phases(self, steps: Ints, total: int, start: float, middle: float, end: float) -> Floats:
        peak = self._peak(total)
        up = _cosine(start, middle, _fraction(steps, 0, peak))
        down = _cosine(middle, end, _fraction(steps, peak, total - 1))
        return np.asarray(np.where((steps < peak) | (steps == 0), up, down))

    def _lr(self, steps: Ints, total: int) -> Floats:
        return self._two_phases(steps, total, self.max_lr / self.div, self.max_lr, self.max_lr / self.final_div)

    def _momentum(self, steps: Ints, total: int) -> Floats:
        return self._two_phases(steps, total, self.momentum_high, self.momentum_low, self.momentum_high)


@dataclass(frozen=True, kw_only=True)
class Snapshot(Schedule):
    """M equal cosine cycles, per iteration, each from max_lr down to max_lr/final_div; snapshots at their ends.

    Source: Huang et al. 2017 (arXiv 1704.00109), eq. 2. Cycle k spans the steps
    [k*total//M, (k+1)*total//M), so boundaries are exact for every total. `warmup` is the share of the first
    cycle spent rising linearly from max_lr/25, which keeps large rates from breaking a fresh model.
    """

    kind: ClassVar[str] = "snapshot"
    max_lr: float
    cycles: int = 5
    final_div: float = 1e5
    warmup: float = 0.1
    momentum: float = 0.9

    def check(self) -> None:
        _at_least(self, "max_lr", 0, above=True)
        _at_least(self, "cycles", 1)
        _at_least(self, "final_div", 1)
        if not 0 <= self.warmup < 1:
            raise SpecError("schedule.warmup", f"{self.warmup!r} is not in [0, 1)")
        if not 0 <= self.momentum < 1:
            raise SpecError("schedule.momentum", f"{self.momentum!r} is not in [0, 1)")

    def _starts(self, total: int) -> Ints:
        if total < self.cycles:
            raise SpecError("schedule.cycles", f"{self.cycles} cycles do not fit into {total} steps")
        return np.arange(self.cycles + 1, dtype=np.int64) * total // self.cycles

    def cycle_ends(self, total: int) -> tuple[int, ...]:
        return tuple(int(s) - 1 for s in self._starts(total)[1:])

    def _lr(self, steps: Ints, total: int) -> Floats:
        starts = self._starts(total)
        cycle = np.searchsorted(starts, steps, side="right") - 1
        first, last = starts[cycle], starts[cycle + 1] - 1
        rise = int(self.warmup * starts[1])
        warm = np.array(self.max_lr / 25 + (self.max_lr - self.max_lr / 25) * _fraction(steps, 0, rise))
        anneal_from = np.where(cycle == 0, rise, first)
        down = _cosine(self.max_lr, self.max_lr / self.final_div, _fraction(steps, anneal_from, last))
        return np.where(steps < rise, warm, down)

    def _momentum(self, steps: Ints, total: int) -> Floats:
        return np.full(steps.shape, self.momentum)


@dataclass(frozen=True, kw_only=True)
class Ramp(Schedule):
    """The range test: lr from `start` to `end`, exponentially (equal ratios) or linearly (equal differences).

    Source: Smith 2015 (arXiv 1506.01186), section 3.3; exponential form of fastai.
    """

    kind: ClassVar[str] = "ramp"
    start: float = 1e-7
    end: float = 10.0
    exponential: bool = True
    momentum: float = 0.9

    def check(self) -> None:
        _at_least(self, "start", 0, above=True)
        if self.end <= self.start:
            raise SpecError("schedule.end", f"{self.end!r} is not above start {self.start!r}")

    def _lr(self, steps: Ints, total: int) -> Floats:
        p = _fraction(steps, 0, total - 1)
        ramp = (
            self.start * (self.end / self.start) ** p if self.exponential else self.start + (self.end - self.start) * p
        )
        return np.asarray(np.where(p == 1, self.end, ramp), dtype=np.float64)

    def _momentum(self, steps: Ints, total: int) -> Floats:
        return np.full(steps.shape, self.momentum)


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same lr at every step."""

    kind: ClassVar[str] = "constant"
    max_lr: float
    momentum: float = 0.9

    def check(self) -> None:
        _at_least(self, "max_lr", 0, above=True)

    def _lr(self, steps: Ints, total: int) -> Floats:
        return np.full(steps.shape, self.max_lr, dtype=np.float64)

    def _momentum(self, steps: Ints, total: int) -> Floats:
        return np.full(steps.shape, self.momentum)


KINDS: dict[str, type[Schedule]] = {cls.kind: cls for cls in (OneCycle, Snapshot, Ramp, Constant)}


def schedule_class(kind: object, place: str = "schedule") -> type[Schedule]:
    """The schedule class of a kind; `SpecError` with the choices where there is none."""
    if not isinstance(kind, str) or kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        raise SpecError(f"{place}.kind", f"{kind!r} is unknown{hint}; choices: {', '.join(KINDS)}")
    return KINDS[kind]


def parse_schedule(value: dict[str, Any], place: str = "schedule") -> Schedule:
    """A schedule as a spec writes it: `{kind: one_cycle, max_lr: 0.1, ...}`."""
    given = dict(value)
    cls = schedule_class(given.pop("kind", None), place)
    names = {f.name for f in fields(cls)}
    for key in given:
        if key not in names:
            raise SpecError(f"{place}.{key}", f"is unknown{nearest(key, names)}; allowed: {', '.join(sorted(names))}")
    missing = [f.name for f in fields(cls) if f.name == "max_lr" and f.name not in given]
    if missing:
        raise SpecError(f"{place}.max_lr", "is missing")
    return cls(**given)
