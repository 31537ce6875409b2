"""The schedule of a learning-rate range test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lab.errors import SpecError
from lab.schedules.base import FixedMomentum, at_least
from lab.schedules.curves import Floats, Ints, exponential, linear, piecewise


@dataclass(frozen=True, kw_only=True)
class Ramp(FixedMomentum):
    """The range test: lr from `start` to `end`, exponentially (equal ratios) or linearly (equal differences).

    With p from 0 at the first step to 1 at the last: lr = start (end/start)^p, or start + (end - start) p.

    >>> Ramp().picture()
    '▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▃▄▆█'

    Source: Smith 2015 (arXiv 1506.01186), section 3.3; exponential form of fastai.
    """

    kind: ClassVar[str] = "ramp"
    start: float = 1e-7
    end: float = 10.0
    exponential: bool = True

    def check(self) -> None:
        at_least(self, "start", 0, above=True)
        if self.end <= self.start:
            raise SpecError("schedule.end", f"{self.end!r} is not above start {self.start!r}")
        if math.isinf(self.end / self.start):
            raise SpecError("schedule.start", f"{self.start!r} is too far below end {self.end!r}")

    def _lr(self, steps: Ints, total: int) -> Floats:
        shape = exponential if self.exponential else linear
        return piecewise(steps, [0, total - 1], [self.start, self.end], shape)
