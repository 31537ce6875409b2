"""Schedules that hold the lr and let it fall once, or in steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from lab.errors import SpecError
from lab.schedules.base import FixedMomentum, at_least, check_peak, check_phases
from lab.schedules.curves import Floats, Ints, cosine, linear, one_minus_sqrt, piecewise, portion, power


@dataclass(frozen=True, kw_only=True)
class Constant(FixedMomentum):
    """The same lr at every step: lr = max_lr.

    >>> Constant(max_lr=1).picture()
    '████████████████████████████████████████████████'

    Source: the control that every other schedule is held against.
    """

    kind: ClassVar[str] = "constant"
    max_lr: float

    def check(self) -> None:
        check_peak(self, self.max_lr, None)

    def _lr(self, steps: Ints, total: int) -> Floats:
        return np.full(steps.shape, self.max_lr, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class FlatCosine(FixedMomentum):
    """max_lr for the first `pct_start` of the steps, then half a cosine to the end.

    lr = low + (max_lr - low)(1 + cos(pi p))/2 with p from 0 at the step round(pct_start (total - 1)) to 1 at the
    last, and low = `min_lr`, or max_lr/final_div when that is not given.

    >>> FlatCosine(max_lr=1).picture()
    '██████████████████████████████████████▇▆▅▅▄▃▂▁▁▁'

    Source: fastai 2.8 `fit_flat_cos` and its constants.
    """

    kind: ClassVar[str] = "flat_cosine"
    max_lr: float
    min_lr: float | None = None
    pct_start: float = 0.75
    final_div: float = 1e5

    def check(self) -> None:
        check_peak(self, self.max_lr, self.min_lr)
        at_least(self, "final_div", 1)
        if not 0 <= self.pct_start < 1:
            raise SpecError("schedule.pct_start", f"{self.pct_start!r} is not in [0, 1)")

    def _lr(self, steps: Ints, total: int) -> Floats:
        last = total - 1
        turn = min(round(self.pct_start * last), max(last - 1, 0))
        low = self.max_lr / self.final_div if self.min_lr is None else self.min_lr
        return piecewise(steps, [0, turn, last], [self.max_lr, self.max_lr, low], cosine)


@dataclass(frozen=True, kw_only=True)
class WSD(FixedMomentum):
    """Warm-up, stable, decay: a linear rise from max_lr/div, a constant stretch, a short fall to the end.

    The fall takes the last `cooldown` of the steps and is lr = low + (max_lr - low) f(p) with f(p) = 1 - sqrt(p)
    or, when `shape` is linear, 1 - p; low = `min_lr`, or max_lr/final_div when that is not given. Rise and fall
    take at least a step each, unless their share is 0.

    >>> WSD(max_lr=1).picture()
    '▁▅█████████████████████████████████████▆▅▄▃▃▂▂▁▁'

    Source: Hu et al. 2024 (MiniCPM, arXiv 2404.06395), eq. 1; shapes and lengths of the fall from Hägele et al. 2024
    (arXiv 2405.18392), section 3.
    """

    kind: ClassVar[str] = "wsd"
    max_lr: float
    min_lr: float | None = None
    warmup: float = 0.05
    cooldown: float = 0.2
    shape: Literal["1-sqrt", "linear"] = "1-sqrt"
    div: float = 25.0
    final_div: float = 1e5

    def check(self) -> None:
        check_peak(self, self.max_lr, self.min_lr)
        at_least(self, "warmup", 0)
        at_least(self, "cooldown", 0)
        at_least(self, "div", 1)
        at_least(self, "final_div", 1)
        if self.warmup + self.cooldown > 1:
            raise SpecError("schedule.cooldown", f"{self.cooldown!r} and warmup {self.warmup!r} are more than 1 in all")

    def check_length(self, total: int) -> None:
        check_phases(self, total, 1 + (self.warmup > 0) + (self.cooldown > 0))

    def _lr(self, steps: Ints, total: int) -> Floats:
        last = total - 1
        rise = max(round(self.warmup * last), 1) if self.warmup else 0
        fall = max(round(self.cooldown * last), 1) if self.cooldown else 0
        rise = min(rise, last - fall) if fall < last else min(rise, 1)
        turn = max(last - fall, rise)
        start = self.max_lr / self.div if self.warmup else self.max_lr
        up = piecewise(steps, [0, rise], [start, self.max_lr], linear)
        if not fall:
            return up
        low = self.max_lr / self.final_div if self.min_lr is None else self.min_lr
        shape = one_minus_sqrt if self.shape == "1-sqrt" else linear
        down = piecewise(steps, [turn, last], [self.max_lr, low], shape)
        return np.where(steps < turn, up, down)


@dataclass(frozen=True, kw_only=True)
class Polynomial(FixedMomentum):
    """lr = low + (max_lr - low)(1 - p)^power, with p from 0 at the first step to 1 at the last.

    low is `min_lr`, or max_lr/final_div when that is not given; power 1 is linear decay.

    >>> Polynomial(max_lr=1).picture()
    '████▇▇▇▇▇▇▇▆▆▆▆▆▆▅▅▅▅▅▅▅▄▄▄▄▄▄▄▃▃▃▃▃▃▂▂▂▂▂▂▂▁▁▁▁'

    Source: Chen et al. 2017 (DeepLab, arXiv 1606.00915), section 4 ("poly").
    """

    kind: ClassVar[str] = "polynomial"
    max_lr: float
    min_lr: float | None = None
    power: float = 1.0
    final_div: float = 1e5

    def check(self) -> None:
        check_peak(self, self.max_lr, self.min_lr)
        at_least(self, "power", 0, above=True)
        at_least(self, "final_div", 1)

    def _lr(self, steps: Ints, total: int) -> Floats:
        low = self.max_lr / self.final_div if self.min_lr is None else self.min_lr
        return piecewise(steps, [0, total - 1], [self.max_lr, low], power(self.power))


@dataclass(frozen=True, kw_only=True)
class Step(FixedMomentum):
    """lr = max_lr gamma^k from the k-th milestone on; milestones are shares of the steps, rounded down.

    >>> Step(max_lr=1).picture()
    '████████████████████████▂▂▂▂▂▂▂▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁'

    Source: He et al. 2016 (arXiv 1512.03385), section 4.2; milestones as in Huang et al. 2017 (arXiv 1608.06993).
    """

    kind: ClassVar[str] = "step"
    max_lr: float
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1

    def check(self) -> None:
        check_peak(self, self.max_lr, None)
        if not 0 < self.gamma <= 1:
            raise SpecError("schedule.gamma", f"{self.gamma!r} is not in (0, 1]")
        if not all(low < high for low, high in pairwise((0, *self.milestones, 1))):
            raise SpecError("schedule.milestones", f"{list(self.milestones)!r} do not ascend between 0 and 1")

    def check_length(self, total: int) -> None:
        nodes = [0, *self._steps(total), total]
        if any(first == last for first, last in pairwise(nodes)):
            count = len(self.milestones)
            raise SpecError("schedule.milestones", f"{total} steps are too few for {count} distinct milestones")

    def _steps(self, total: int) -> list[int]:
        return [portion(share, total) for share in self.milestones]

    def _lr(self, steps: Ints, total: int) -> Floats:
        passed = np.searchsorted(np.array(self._steps(total), dtype=np.int64), steps, side="right")
        levels = np.array([self.max_lr * self.gamma**k for k in range(len(self.milestones) + 1)])
        return np.asarray(levels[passed], dtype=np.float64)
