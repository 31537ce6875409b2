"""Piecewise-linear cycles: Smith's cyclical learning rates, and those of fast geometric ensembling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from lab.errors import SpecError
from lab.schedules.base import CycledMomentum, FixedMomentum, Schedule, at_least, check_peak
from lab.schedules.curves import Floats, Ints, linear, piecewise
from lab.schedules.cycles import equal_starts, period_starts
from lab.schedules.restarts import check_cycles


def _ends(total: int, cycles: int, length: int | None) -> Ints:
    """Steps [cycles + 1] between which cycles lie: a cycle's last step is the next one's first."""
    return equal_starts(total - 1, cycles) if length is None else period_starts(total - 1, length)


def _nodes(ends: Ints) -> Ints:
    """The ends with the middle of each cycle between them [2 * cycles + 1]."""
    nodes = np.repeat(ends, 2)[:-1]
    nodes[1::2] = (ends[:-1] + ends[1:]) // 2
    return nodes


def _heights(ends: Ints, peaks: ArrayLike = 1.0) -> Floats:
    """0 at each end, the peak at each middle, if the cycle is long enough to have one [2 * cycles + 1]."""
    heights = np.zeros(2 * len(ends) - 1)
    heights[1::2] = np.where(np.diff(ends) > 1, peaks, 0.0)
    return heights


def _check_triangles(schedule: Schedule, total: int, cycles: int) -> None:
    least = 2 * cycles + 1
    if total < least:
        raise SpecError(
            "schedule.cycles",
            f"{total} steps are too few for {cycles} times up and down; at least {least} steps",
        )


@dataclass(frozen=True, kw_only=True)
class Cyclical(CycledMomentum):
    """Smith's cyclical learning rates: straight up from low to max_lr and straight down; momentum mirrors them.

    lr = low + (max_lr - low) x s, with x going 0 -> 1 -> 0 in each cycle, low = `min_lr`, or max_lr/div when that
    is not given, and s by `mode`: 1 (triangular), 2^-c in cycle c = 0, 1, ... (triangular2), or gamma^t at
    step t (exp_range). Either `cycles` of them (4 if neither is given) fill the run, or half a cycle has
    `step_size` steps; then the last cycle ends with the run, at low, and is the shorter for it.

    >>> Cyclical(max_lr=1).picture()
    '▂▃▄▅▇█▇▆▅▄▃▂▃▄▅▆▇█▇▆▅▄▃▂▃▄▅▆▇█▇▆▅▄▃▂▃▄▅▆▇█▇▆▅▄▃▂'

    Source: Smith 2015 (arXiv 1506.01186), section 3.1, gamma of its CIFAR-10 experiments; cyclical momentum from
    Smith 2018 (arXiv 1803.09820), section 4.3.
    """

    kind: ClassVar[str] = "cyclical"
    max_lr: float
    min_lr: float | None = None
    div: float = 10.0
    cycles: int | None = None
    step_size: int | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = 0.99994

    def check(self) -> None:
        check_peak(self, self.max_lr, self.min_lr)
        check_cycles(self.cycles, self.step_size, "step_size")
        at_least(self, "div", 1)
        if not 0 < self.gamma <= 1:
            raise SpecError("schedule.gamma", f"{self.gamma!r} is not in (0, 1]")

    def check_length(self, total: int) -> None:
        _check_triangles(self, total, 1 if self.step_size else self.cycles or 4)

    def _ends(self, total: int) -> Ints:
        return _ends(total, self.cycles or 4, 2 * self.step_size if self.step_size else None)

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        return tuple(self._ends(total)[1:].tolist())

    def _height(self, steps: Ints, total: int) -> Floats:
        ends = self._ends(total)
        peaks = np.power(0.5 if self.mode == "triangular2" else 1.0, np.arange(len(ends) - 1, dtype=np.float64))
        height = piecewise(steps, _nodes(ends), _heights(ends, peaks), linear)
        return height * self.gamma**steps if self.mode == "exp_range" else height

    def _lr(self, steps: Ints, total: int) -> Floats:
        low = self.max_lr / self.div if self.min_lr is None else self.min_lr
        return linear(low, self.max_lr, self._height(steps, total))

    def _momentum(self, steps: Ints, total: int) -> Floats:
        return linear(self.momentum_high, self.momentum_low, self._height(steps, total))


@dataclass(frozen=True, kw_only=True)
class FGE(FixedMomentum):
    """Fast geometric ensembling: straight down from max_lr and straight up again, with a snapshot at each low.

    In a cycle at t in [0, 1]: lr = (1 - 2t) a1 + 2t a2 up to t = 1/2, then (2 - 2t) a2 + (2t - 1) a1, with
    a1 = max_lr and a2 = `min_lr`, or max_lr/div when that is not given. Either `cycles` of them (4 if neither is
    given) fill the run, or each has `period` steps; then the last ends with the run and is the shorter for it.
    It continues a run that is almost trained: join it to a schedule that gets there.

    >>> FGE(max_lr=1).picture()
    '█▇▆▅▄▂▃▄▅▆▇█▇▆▅▄▃▂▃▄▅▆▇█▇▆▅▄▃▂▃▄▅▆▇█▇▆▅▄▃▂▃▄▅▆▇█'

    Source: Garipov et al. 2018 (arXiv 1802.10026), section 4; div of the authors' code for ResNets.
    """

    kind: ClassVar[str] = "fge"
    max_lr: float
    min_lr: float | None = None
    div: float = 5.0
    cycles: int | None = None
    period: int | None = None

    def check(self) -> None:
        check_peak(self, self.max_lr, self.min_lr)
        check_cycles(self.cycles, self.period, "period", least=2)
        at_least(self, "div", 1)

    def check_length(self, total: int) -> None:
        _check_triangles(self, total, 1 if self.period else self.cycles or 4)

    def _ends(self, total: int) -> Ints:
        return _ends(total, self.cycles or 4, self.period)

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        ends = self._ends(total)
        return tuple(_nodes(ends)[1::2][np.diff(ends) > 1].tolist())

    def _lr(self, steps: Ints, total: int) -> Floats:
        ends = self._ends(total)
        low = self.max_lr / self.div if self.min_lr is None else self.min_lr
        return linear(self.max_lr, low, piecewise(steps, _nodes(ends), _heights(ends), linear))
