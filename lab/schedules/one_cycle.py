"""One rise and one fall: Smith's 1cycle in its three forms, and ULMFiT's slanted triangle."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from lab.errors import SpecError
from lab.schedules.base import CycledMomentum, FixedMomentum, at_least, check_peak, check_phases
from lab.schedules.curves import Floats, Ints, Shape, cosine, linear, piecewise, portion


@dataclass(frozen=True, kw_only=True)
class OneCycle(CycledMomentum):
    """Smith's 1cycle: the lr rises to max_lr and falls to almost nothing; momentum mirrors it.

    lr: max_lr/div -> max_lr over the first `pct_start` of the steps, then -> max_lr/final_div at the last one.
    With `three_phase` it falls as long as it rose, back to max_lr/div, and is then annihilated to
    max_lr/final_div while momentum stays at its maximum. Each phase from s to e at p in [0, 1] is
    `e + (s - e)(1 + cos(pi p))/2`, or `s + (e - s) p` when `anneal` is linear. The peak is at the step
    round(pct_start (total - 1)), and never at the first or last step of three or more.

    Presets: `fastai` (the defaults), `torch` (constants of OneCycleLR, whose final lr is 1e4 times below the
    *initial* one), `smith` (linear, three phases, annihilation to 1/100 of the initial lr).

    >>> OneCycle(max_lr=1).picture()
    '▁▁▂▂▃▄▅▆▆▇█████████▇▇▇▇▆▆▆▆▅▅▅▄▄▄▃▃▃▃▂▂▂▂▁▁▁▁▁▁▁'

    Source: Smith & Topin 2017 (arXiv 1708.07120), Smith 2018 (arXiv 1803.09820), section 4; constants of
    fastai 2.8 `fit_one_cycle` and torch 2 `OneCycleLR`. Unlike in fastai, the last applied step has the final value.
    """

    kind: ClassVar[str] = "one_cycle"
    presets = MappingProxyType(
        {
            "fastai": {},
            "torch": {"pct_start": 0.3, "final_div": 25.0 * 1e4},
            "smith": {"anneal": "linear", "three_phase": True, "pct_start": 0.45, "div": 10.0, "final_div": 1000.0},
        }
    )
    max_lr: float
    pct_start: float = 0.25
    div: float = 25.0
    final_div: float = 1e5
    anneal: Literal["cosine", "linear"] = "cosine"
    three_phase: bool = False

    def check(self) -> None:
        check_peak(self, self.max_lr, None)
        at_least(self, "div", 1)
        at_least(self, "final_div", 1)
        highest = 0.5 if self.three_phase else 1
        if not 0 < self.pct_start < highest:
            raise SpecError("schedule.pct_start", f"{self.pct_start!r} is not between 0 and {highest}")

    def check_length(self, total: int) -> None:
        if self.three_phase:
            check_phases(self, total, 3)

    def _nodes(self, total: int) -> list[int]:
        last = total - 1
        if not self.three_phase:
            return [0, min(max(round(self.pct_start * last), 1), max(last - 1, 0)), last]
        peak = max(min(round(self.pct_start * last), (last - 1) // 2), 1)
        return [0, peak, 2 * peak, last]

    @property
    def _shape(self) -> Shape:
        return cosine if self.anneal == "cosine" else linear

    def _lr(self, steps: Ints, total: int) -> Floats:
        start, end = self.max_lr / self.div, self.max_lr / self.final_div
        values = [start, self.max_lr, start, end] if self.three_phase else [start, self.max_lr, end]
        return piecewise(steps, self._nodes(total), values, self._shape)

    def _momentum(self, steps: Ints, total: int) -> Floats:
        values = [self.momentum_high, self.momentum_low, self.momentum_high]
        if self.three_phase:
            values.append(self.momentum_high)
        return piecewise(steps, self._nodes(total), values, self._shape)


@dataclass(frozen=True, kw_only=True)
class SlantedTriangular(FixedMomentum):
    """ULMFiT's slanted triangle: a short linear rise, a long linear decay.

    With cut = floor(cut_frac T), T = total - 1: p = t/cut while t < cut, then 1 - (t - cut)/(T - cut), and
    lr = max_lr (1 + p (ratio - 1))/ratio, so it starts and ends at max_lr/ratio.

    >>> SlantedTriangular(max_lr=1).picture()
    '▁▃▅▆████▇▇▇▇▇▇▆▆▆▆▆▆▅▅▅▅▅▅▅▄▄▄▄▄▄▃▃▃▃▃▃▂▂▂▂▂▂▂▁▁'

    Source: Howard & Ruder 2018 (arXiv 1801.06146), eq. 3, with its constants (Adam's beta1 .7 among them). There
    T is the number of steps, so that the last one applied lies above the final value.
    """

    kind: ClassVar[str] = "slanted_triangular"
    max_lr: float
    cut_frac: float = 0.1
    ratio: float = 32.0
    momentum: float = 0.7

    def check(self) -> None:
        check_peak(self, self.max_lr, None)
        at_least(self, "ratio", 1)
        if not 0 < self.cut_frac < 1:
            raise SpecError("schedule.cut_frac", f"{self.cut_frac!r} is not between 0 and 1")

    def _lr(self, steps: Ints, total: int) -> Floats:
        last, low = total - 1, self.max_lr / self.ratio
        cut = min(max(portion(self.cut_frac, last), 1), max(last - 1, 0))
        return piecewise(steps, [0, cut, last], [low, self.max_lr, low], linear)
