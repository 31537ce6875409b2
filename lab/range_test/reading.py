"""One range test, read: where it falls, where it is least, and what each rule makes of it. Shapes: s steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lab.range_test.curve import SETTLED, Floats, smooth, smoothing_weights, stop_step
from lab.range_test.rules import RULES

LEAST_FALL = 0.05
"""Share of the first loss by which a loss must fall, or the test says nothing."""

SURE_FALL = 2.0
"""Standard errors by which a loss must fall as well. One in eight runs that learn nothing does (the least of many
steps is chosen), so that most of several hardly do; of trainings at batches of 64 the least was 4, the median 10."""

FEWEST_STEPS = SETTLED + 1
"""A run that breaks off earlier has no curve to read."""


@dataclass(frozen=True)
class Run:
    """One range test: the learning rates it used [s] and the losses it met [s]."""

    seed: int
    weight_decay: float
    lrs: Floats
    losses: Floats


@dataclass(frozen=True)
class Reading:
    """What one run says; rates are None, and rules empty, where it says nothing."""

    seed: int
    weight_decay: float
    lrs: tuple[float, ...]
    smoothed: tuple[float, ...]
    falls_at: float | None = None
    """Where a tenth of the way down has been gone."""
    halfway: float | None = None
    """Where half of the way down has been gone."""
    minimum: float | None = None
    """Where the smoothed loss is least."""
    rules: Mapping[str, float] = field(default_factory=dict)

    @property
    def says_something(self) -> bool:
        """Whether the run says anything."""
        return self.minimum is not None


def read(run: Run, stop_at: float) -> Reading:
    """Smooth a run, cut it where it diverged, and find its marks."""
    smoothed = smooth(run.losses)
    end = stop_step(smoothed, stop_at)
    end = len(smoothed) if end is None else end
    smoothed, lrs = smoothed[:end], run.lrs[:end]
    cut = tuple(lrs.tolist()), tuple(smoothed.tolist())
    silent = Reading(run.seed, run.weight_decay, *cut)
    if end < FEWEST_STEPS:
        return silent
    start, at = start_level(smoothed), least_at(smoothed)
    fall = start - float(smoothed[at])
    if fall <= max(LEAST_FALL * abs(start), SURE_FALL * fall_error(run.losses, at)):
        return silent
    # As fastai's `lr_find` hands them over: without the first tenth of the planned steps and the last five.
    shown = slice(len(run.lrs) // 10, -5) if end > len(run.lrs) // 10 + 5 + FEWEST_STEPS else slice(None)
    rules = {name: rule(lrs[shown], smoothed[shown]) for name, rule in RULES.items()}
    return Reading(
        run.seed,
        run.weight_decay,
        *cut,
        fallen_at(lrs, smoothed, 0.1),
        fallen_at(lrs, smoothed, 0.5),
        float(lrs[at]),
        rules,
    )


def start_level(smoothed: Floats) -> float:
    """What the loss is before it falls: the smoothed loss once it has settled, since a first batch alone is noise."""
    return float(smoothed[min(SETTLED, len(smoothed)) - 1])


def least_at(smoothed: Floats) -> int:
    """The step of the least loss that is no first batches' luck."""
    first = min(SETTLED, len(smoothed)) - 1
    return first + int(smoothed[first:].argmin())


def fall_error(losses: Floats, at: int) -> float:
    """Standard error of the fall from the start to a step, by how much batches differ from one to the next."""
    weights = smoothing_weights(at, at + 1)
    weights[:SETTLED] -= smoothing_weights(SETTLED - 1, SETTLED)
    noise = np.std(np.diff(losses[: max(at, SETTLED) + 1])) / np.sqrt(2)
    return float(noise * np.sqrt((weights**2).sum()))


def fallen_at(lrs: Floats, losses: Floats, share: float) -> float:
    """The rate from which on, up to the least loss, a share of the way down has been gone; interpolated in log lr.

    The last crossing, not the first: a noisy loss may touch the level long before it falls.
    """
    least = least_at(losses)
    start = start_level(losses)
    goal = start - share * (start - float(losses[least]))
    above = np.flatnonzero(losses[: least + 1] > goal)
    if above.size == 0:
        return float(lrs[0])
    before = int(above[-1])
    high, low = float(losses[before]), float(losses[before + 1])
    part = (high - goal) / (high - low)
    return float(np.exp(np.log(lrs[before]) + part * (np.log(lrs[before + 1]) - np.log(lrs[before]))))
