"""Cosine cycles with warm restarts: SGDR and snapshot ensembles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lab.errors import SpecError
from lab.schedules.base import FixedMomentum, at_least, check_peak
from lab.schedules.curves import Floats, Ints, cosine, fraction, linear, portion
from lab.schedules.cycles import equal_starts, growing_starts, period_starts


def _fall(steps: Ints, first: ArrayLike, last: ArrayLike, high: ArrayLike, low: float) -> Floats:
    """Half a cosine from `high` at `first` to `low` at `last`, each [n] or scalar.

    A cycle of a single step is annealed, for it is a cycle's end; only a run's very first step stays high.
    """
    alone = (np.asarray(first) == last) & (steps > 0)
    return cosine(high, low, np.where(alone, 1.0, fraction(steps, first, last)))


@dataclass(frozen=True, kw_only=True)
class Snapshot(FixedMomentum):
    """M equal cosine cycles, per iteration, each from max_lr down to its end; snapshots are taken at their ends.

    With cycle k of the steps k*total//M <= t < (k+1)*total//M and p from 0 to 1 over them,
    lr = low + (max_lr - low)(1 + cos(pi p))/2, where low is `min_lr`, or max_lr/final_div when that is not
    given. `warmup` is the share of the first cycle (at least a step, unless 0) spent rising linearly from
    max_lr/25, which keeps large rates from breaking a fresh model.

    >>> Snapshot(max_lr=1).picture()
    '▁██▇▅▄▂▁▁██▇▆▅▄▃▂▁▁██▇▆▅▃▂▁▁██▇▆▅▄▃▂▁▁██▇▆▅▄▃▂▁▁'

    Source: Huang et al. 2017 (arXiv 1704.00109), eq. 2. There p stays one step short of 1 and the cycles are
    ceil(T/M) steps, the last of them cut.
    """

    kind: ClassVar[str] = "snapshot"
    max_lr: float
    min_lr: float | None = None
    cycles: int = 5
    final_div: float = 1e5
    warmup: float = 0.1

    def check(self) -> None:
        check_peak(self, self.max_lr, self.min_lr)
        at_least(self, "cycles", 1)
        at_least(self, "final_div", 1)
        if not 0 <= self.warmup < 1:
            raise SpecError("schedule.warmup", f"{self.warmup!r} is not in [0, 1)")

    def check_length(self, total: int) -> None:
        equal_starts(total, self.cycles)

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        return tuple((equal_starts(total, self.cycles)[1:] - 1).tolist())

    def _lr(self, steps: Ints, total: int) -> Floats:
        starts = equal_starts(total, self.cycles)
        cycle = np.searchsorted(starts, steps, side="right") - 1
        rise = max(portion(self.warmup, int(starts[1])), 1) if self.warmup else 0
        warm = linear(self.max_lr / 25, self.max_lr, fraction(steps, 0, rise))
        first = np.where(cycle == 0, rise, starts[cycle])
        low = self.max_lr / self.final_div if self.min_lr is None else self.min_lr
        down = _fall(np.maximum(steps, first), first, starts[cycle + 1] - 1, self.max_lr, low)
        return np.where(steps < rise, warm, down)


@dataclass(frozen=True, kw_only=True)
class SGDR(FixedMomentum):
    """Cosine annealing with warm restarts: cycle i is T_i = T_0 T_mul^i steps and starts at max_lr decay^i.

    lr = low + (high_i - low)(1 + cos(pi T_cur/T_i))/2, where T_cur/T_i runs from 0 at a cycle's first step to 1
    at its last, and low is `min_lr`, or max_lr/final_div when that is not given (below which no peak falls).

    Either `cycles` of them (3 if neither is given) fill the run, or the first has `period` = T_0 steps; then the
    last cycle ends with the run, annealed, and is the shorter for it. T_mul may be any positive number, read as
    the decimal it is written as; each boundary is computed exactly and rounded down once.

    >>> SGDR(max_lr=1).picture()
    '█▇▆▃▂▁███▇▆▆▅▄▃▃▂▁▁▁█████▇▇▇▇▆▆▆▅▅▄▄▃▃▃▂▂▂▂▁▁▁▁▁'

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5, whose eta_max^i is the
    peak of cycle i. There T_cur/T_i stays one step short of 1.
    """

    kind: ClassVar[str] = "sgdr"
    max_lr: float
    min_lr: float | None = None
    cycles: int | None = None
    period: int | None = None
    T_mul: float = 2.0
    decay: float = 1.0
    final_div: float = 1e5

    def check(self) -> None:
        check_peak(self, self.max_lr, self.min_lr)
        check_cycles(self.cycles, self.period, "period")
        at_least(self, "T_mul", 0, above=True)
        at_least(self, "final_div", 1)
        if not 0 < self.decay <= 1:
            raise SpecError("schedule.decay", f"{self.decay!r} is not in (0, 1]")

    def check_length(self, total: int) -> None:
        self._starts(total)

    def _starts(self, total: int) -> Ints:
        if self.period is not None:
            return period_starts(total, self.period, self.T_mul)
        return growing_starts(total, self.cycles or 3, self.T_mul)

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        return tuple((self._starts(total)[1:] - 1).tolist())

    def _lr(self, steps: Ints, total: int) -> Floats:
        starts = self._starts(total)
        cycle = np.searchsorted(starts, steps, side="right") - 1
        low = self.max_lr / self.final_div if self.min_lr is None else self.min_lr
        high = np.maximum(self.max_lr * self.decay**cycle, low)
        return _fall(steps, starts[cycle], starts[cycle + 1] - 1, high, low)


def check_cycles(cycles: int | None, length: int | None, name: str, *, least: int = 1) -> None:
    """Refuse both a number of cycles and their length, no cycle, and a length below `least`."""
    if cycles is not None and length is not None:
        raise SpecError(f"schedule.{name}", f"{length!r} and cycles {cycles!r}: only one of them can be given")
    for field, value, low in (("cycles", cycles, 1), (name, length, least)):
        if value is not None and value < low:
            raise SpecError(f"schedule.{field}", f"{value!r} is not at least {low}")
