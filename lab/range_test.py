"""Reading a learning-rate range test: where a run stops, where its loss falls, and the interval several runs agree on.

Shapes: s steps of one run. Losses are per optimizer step, as trained; they are smoothed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMOOTHING = 0.98
"""fastai's exponential moving average over 100 steps."""


def smooth(losses: Sequence[float] | Floats, beta: float = SMOOTHING) -> Floats:
    """Debiased exponential moving average of losses [s]; from the first non-finite loss on it is infinite."""
    values = np.asarray(losses, dtype=np.float64)
    out = np.full(values.shape, np.inf)
    average = 0.0
    for step, value in enumerate(values):
        if not np.isfinite(value):
            break
        average = beta * average + (1 - beta) * value
        out[step] = average / (1 - beta ** (step + 1))
    return out


def stop_step(smoothed: Floats, stop_at: float) -> int | None:
    """The first step whose smoothed loss exceeds `stop_at` times the best before it; None if there is none.

    A loss that is not finite always does; below zero, the margin is as wide as for a loss of the same size above it.
    """
    best = np.minimum.accumulate(smoothed)
    limit = best + (stop_at - 1) * np.abs(best)
    over = np.flatnonzero(~(smoothed <= limit) | ~np.isfinite(smoothed))
    return int(over[0]) if over.size else None


def longest_decline(losses: Floats) -> tuple[int, int]:
    """Ends (first, last) of the longest strictly decreasing subsequence; the earliest where several are as long.

    O(s^2) dynamic programming, as in fastai 2.8's `valley`.
    """
    n = len(losses)
    length = np.ones(n, dtype=np.int64)
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and length[i] < length[j] + 1:
                length[i] = length[j] + 1
    last = int(length.argmax())
    first = last - int(length[last])
    return max(first, 0), last


def valley(lrs: Floats, losses: Floats) -> float | None:
    """fastai's suggestion: halfway along the longest valley of the (smoothed) losses; None where nothing falls."""
    first, last = longest_decline(losses)
    if last - first < 2:
        return None
    third = (last - first) / 3
    return float(lrs[first + int(third) + int(third / 2)])


@dataclass(frozen=True)
class Run:
    """One range test: the learning rates it used [s] and the losses it met [s]."""

    seed: int
    weight_decay: float
    lrs: Floats
    losses: Floats


@dataclass(frozen=True)
class Reading:
    """What one run says; rates are None where it says nothing."""

    seed: int
    weight_decay: float
    smoothed: tuple[float, ...]
    lrs: tuple[float, ...]
    falls_at: float | None
    """Where a tenth of the way down has been gone."""
    minimum: float | None
    """Where the smoothed loss is least."""
    valley: float | None


@dataclass(frozen=True)
class Interval:
    """The range of max_lr worth searching, or the reason why the test says nothing."""

    low: float | None
    high: float | None
    verdict: str


def read(run: Run, stop_at: float) -> Reading:
    """Smooth a run, cut it where it diverged, and find its marks."""
    smoothed = smooth(run.losses)
    end = stop_step(smoothed, stop_at)
    end = len(smoothed) if end is None else end
    smoothed, lrs = smoothed[:end], run.lrs[:end]
    falls_at = minimum = knee = None
    if end >= 3:
        start, best = float(smoothed[0]), int(smoothed.argmin())
        fall = start - float(smoothed[best])
        if fall > 0.05 * abs(start):
            falls_at = float(lrs[int(np.argmax(smoothed <= start - 0.1 * fall))])
            minimum = float(lrs[best])
            knee = valley(lrs, smoothed)
    return Reading(run.seed, run.weight_decay, tuple(smoothed.tolist()), tuple(lrs.tolist()), falls_at, minimum, knee)


def interval(readings: Sequence[Reading], end: float) -> Interval:
    """Where max_lr is worth searching: from where losses begin to fall to where they are least.

    The medians over runs, on the log scale; at least a decade, or the search would be spent on noise.
    """
    told = [r for r in readings if r.falls_at is not None and r.minimum is not None]
    if len(told) * 2 < len(readings):
        short = sum(len(r.lrs) < 3 for r in readings)
        why = "diverges at once" if short * 2 > len(readings) else "never falls by more than 5 %"
        return Interval(None, None, f"the loss {why} in {len(readings) - len(told)} of {len(readings)} range tests")
    low = float(np.exp(np.median([np.log(r.falls_at) for r in told if r.falls_at])))
    high = min(float(np.exp(np.median([np.log(r.minimum) for r in told if r.minimum]))), end)
    if high < 10 * low:
        low = high / 10
    return Interval(low, high, f"{len(told)} of {len(readings)} range tests agree on where the loss falls")
