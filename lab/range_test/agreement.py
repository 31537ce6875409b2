"""What several range tests agree on: a rate to train with, how sure that is, and the range worth searching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.range_test.curve import SETTLED
from lab.range_test.reading import FEWEST_STEPS, LEAST_FALL, Reading

_BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Agreement:
    """The result of several range tests; rates are None where they say nothing, and `verdict` says why."""

    suggestion: float | None
    """The max_lr with which a 1cycle training of the planned budget is expected to do best."""
    sure: tuple[float, float] | None
    """Between which rates the suggestion lies over runs drawn anew, 95 % of the time: of three runs, their least and
    largest, which hold the truth three times of four. None for a single run."""
    marks: tuple[float, float] | None
    """The two rates whose geometric mean it is (see `_suggest`), the lesser first: a decade or more between them says
    that the curve falls slowly, and that the suggestion is an order of magnitude."""
    low: float | None
    high: float | None
    """The ends of the range worth searching."""
    weight_decay: float | None
    """The largest value of a grid that costs no loss (Smith 2018, arXiv 1803.09820, section 4.4)."""
    verdict: str


def agree(readings: Sequence[Reading], end: float, seed: int = 0) -> Agreement:
    """Read several tests as one.

    Args:
        readings: runs over the same rates, of any weight decays and seeds.
        end: the largest rate of the test.
        seed: of the bootstrap.
    """
    telling = [r for r in readings if r.says_something]
    if len(telling) * 2 < len(readings) or not telling:
        return Agreement(None, None, None, None, None, None, _why_silent(readings))
    marks = np.array([_marks(r) for r in telling])  # [runs, 3]
    rng = np.random.default_rng(seed)
    drawn = marks[rng.integers(0, len(marks), (_BOOTSTRAPS, len(marks)))]  # [bootstraps, runs, marks]
    spread = np.exp([_suggest(sample) for sample in drawn])
    low, halfway, high = (float(lr) for lr in np.exp(np.median(marks, axis=0)))
    if high < 10 * low:  # less than a decade would be a search for noise
        low = high / 10
    return Agreement(
        suggestion=float(np.exp(_suggest(marks))),
        sure=(float(np.quantile(spread, 0.025)), float(np.quantile(spread, 0.975))) if len(telling) > 1 else None,
        marks=(min(halfway, high / 10), max(halfway, high / 10)),
        low=low,
        high=min(high, end),
        weight_decay=_weight_decay(telling),
        verdict=f"{len(telling)} of {len(readings)} range tests agree on where the loss falls",
    )


def _marks(reading: Reading) -> tuple[float, float, float]:
    """Logs of where the loss begins to fall, where half of the fall has been gone, and where the loss is least."""
    assert reading.falls_at is not None  # these three are known where a reading says anything
    assert reading.halfway is not None
    assert reading.minimum is not None
    falls, halfway, least = np.log([reading.falls_at, reading.halfway, reading.minimum])
    return float(falls), float(halfway), float(least)


def _suggest(marks: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Log of the suggestion from log marks [runs, 3]: midway from half of the fall to a tenth of the least loss's rate.

    The first lies below the best rate where a test has more steps than the training will have (few examples are learnt
    by heart at low rates already), the second above it where the loss rises late. Where the fall is steepest is no
    help: on a curve that falls slowly that is noise, two decades off. All measured in `studies/benchmarks/lr_range.py`.
    Medians, since one run in five may be misread by decades.
    """
    _, halfway, least = np.median(marks, axis=0)
    return float((halfway + least - np.log(10)) / 2)


def _weight_decay(readings: Sequence[Reading]) -> float | None:
    """The largest weight decay whose least loss is within one seed's standard deviation of the best."""
    least: dict[float, list[float]] = {}
    for reading in readings:
        least.setdefault(reading.weight_decay, []).append(min(reading.smoothed[SETTLED - 1 :]))
    if len(least) < 2:
        return None
    variances = [float(np.var(losses, ddof=1)) for losses in least.values() if len(losses) > 1]
    noise = float(np.sqrt(np.mean(variances))) if variances else 0.0
    best = min(float(np.mean(losses)) for losses in least.values())
    return max(decay for decay, losses in least.items() if float(np.mean(losses)) <= best + noise)


def _why_silent(readings: Sequence[Reading]) -> str:
    silent = [r for r in readings if not r.says_something]
    short = sum(len(r.lrs) < FEWEST_STEPS for r in silent)
    if not silent:
        return "no range test was run"
    noise = "and the noise of its batches (raise bounds.steps or batch_size)"
    falls = f"never falls by more than {100 * LEAST_FALL:.0f} % {noise}"
    why = "diverges at once" if short * 2 > len(silent) else falls
    return f"the loss {why} in {len(silent)} of {len(readings)} range tests"
