"""A range test's losses, step by step: smoothed, and cut where the run has diverged. Shapes: s steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMOOTHING = 0.98
"""fastai's exponential moving average over 100 steps."""

SETTLED = 10
"""Steps after which a smoothed loss is the average of enough batches to be compared with others."""


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


def smoothing_weights(step: int, steps: int, beta: float = SMOOTHING) -> Floats:
    """What each loss [steps] weighs in the smoothed loss of a step."""
    age = step - np.arange(steps)
    return np.where(age >= 0, (1 - beta) * beta ** np.maximum(age, 0) / (1 - beta ** (step + 1)), 0.0)


def stop_step(smoothed: Floats, stop_at: float) -> int | None:
    """The first step whose smoothed loss exceeds `stop_at` times the best before it; None if there is none.

    A loss that is not finite always does; one that has not settled never does, nor is it a best: a lucky first batch of
    four examples would end every test. Below zero, the margin is as wide as for a loss of the same size above it.
    """
    first = SETTLED - 1
    best = np.minimum.accumulate(smoothed[first:])
    over = ~np.isfinite(smoothed)
    over[first:] |= ~(smoothed[first:] <= best + (stop_at - 1) * np.abs(best))
    steps = np.flatnonzero(over)
    return int(steps[0]) if steps.size else None
