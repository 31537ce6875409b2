"""A range test's losses, step by step: smoothed, and cut where the run has diverged. Shapes: s steps."""

from __future__ import annotations

from collections.abc import Sequence

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
