"""Fine-tuning a pretrained net: its new head first, then all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError
from lab.schedules.base import CycledMomentum, at_least, check_peak
from lab.schedules.curves import Floats, Ints, portion
from lab.schedules.one_cycle import OneCycle

_SPAN = 100.0
"""How far the first group's lr lies below the last one's: fastai's `lr_mult`."""


@dataclass(frozen=True, kw_only=True)
class FineTune(CycledMomentum):
    """A 1cycle of the last parameter group alone, for the share `frozen` of the steps, then one of all groups.

    The first one has its peak max_lr at its end (pct_start .99); the second rises from max_lr/2/div to max_lr/2 over
    `pct_start` of its steps and falls to max_lr/2/final_div. The groups' rates lie a factor 100 apart from the first to
    the last, in equal ratios, or `lr_divisor` each from its successor. With `gradual`, the frozen steps are shared
    out, and one group more is trained in each part, from the last to the first.

    >>> FineTune(max_lr=1).picture()
    '▁▂▃▄▅▇██▁▂▂▂▂▃▃▃▄▄▄▄▅▄▄▄▄▄▄▄▄▄▃▃▃▃▃▂▂▂▂▂▂▁▁▁▁▁▁▁'
    >>> FineTune(max_lr=1, frozen=0.5).group_factors(2, None, total=4).tolist()
    [[0.0, 1.0], [0.0, 1.0], [0.01, 1.0], [0.01, 1.0]]

    Source: fastai 2.8 `Learner.fine_tune` (`frozen: 0.2` is its one frozen epoch before four others); `gradual` after
    Howard & Ruder 2018 (arXiv 1801.06146), section 3.3.
    """

    kind: ClassVar[str] = "fine_tune"
    freezes: ClassVar[bool] = True
    max_lr: float
    frozen: float = 0.2
    gradual: bool = False
    pct_start: float = 0.3
    div: float = 5.0
    final_div: float = 1e5

    def check(self) -> None:
        check_peak(self, self.max_lr, None)
        at_least(self, "div", 1)
        at_least(self, "final_div", 1)
        for name in ("frozen", "pct_start"):
            if not 0 < getattr(self, name) < 1:
                raise SpecError(f"schedule.{name}", f"{getattr(self, name)!r} is not between 0 and 1")

    def check_length(self, total: int) -> None:
        if total < 2:
            raise SpecError("schedule.total", f"{total} steps are too few for a frozen phase and another; at least 2")

    def divisor(self, groups: int) -> float:
        return _SPAN ** (1 / max(groups - 1, 1)) if self.lr_divisor is None else self.lr_divisor

    def _unfrozen_from(self, total: int) -> int:
        return min(max(portion(self.frozen, total), 1), total - 1)

    @property
    def _phases(self) -> tuple[OneCycle, OneCycle]:
        high, low = self.momentum_high, self.momentum_low
        return (
            OneCycle(max_lr=self.max_lr, pct_start=0.99, momentum_high=high, momentum_low=low),
            OneCycle(
                max_lr=self.max_lr / 2,
                pct_start=self.pct_start,
                div=self.div,
                final_div=self.final_div,
                momentum_high=high,
                momentum_low=low,
            ),
        )

    def _lr(self, steps: Ints, total: int) -> Floats:
        return self._of_phases("lr", steps, total)

    def _momentum(self, steps: Ints, total: int) -> Floats:
        return self._of_phases("momentum", steps, total)

    def _of_phases(self, name: str, steps: Ints, total: int) -> Floats:
        begin = self._unfrozen_from(total)
        values = np.empty(steps.shape)
        for phase, here, first, length in zip(
            self._phases, (steps < begin, steps >= begin), (0, begin), (begin, total - begin), strict=True
        ):
            values[here] = getattr(phase.curves(steps[here] - first, length), name)
        return values

    def _frozen(self, groups: int, steps: Ints, total: int) -> NDArray[np.bool_]:
        begin = self._unfrozen_from(total)
        alone = np.ones_like(steps)
        # One group more in each part, so that all are trained from `begin` on.
        growing = alone + steps * (groups - 1) // begin if self.gradual else alone
        trained = np.where(steps < begin, growing, groups)
        from_last: Ints = np.arange(groups)[::-1]
        frozen: NDArray[np.bool_] = from_last[None, :] >= trained[:, None]
        return frozen
