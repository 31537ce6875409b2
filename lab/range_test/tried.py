"""What short 1cycle trainings at a few rates say of the rate that a range test suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np

HALF_DECADE = 10**0.5

MULTIPLES = tuple(HALF_DECADE**half for half in (-1, 0, 1, 2, 3))
"""Multiples of a range test's suggestion that are tried. It lies up to a decade and a half too low where few steps
train few rows, and was not seen more than a factor 2 too high (`studies/benchmarks/lr_range.py`)."""

MOST_MORE = 2
"""Rates that are tried beyond these, one by one, while the best lies at an end."""

_SURE = 3.0
"""Standard errors of a difference by which a rate is surely worse: of few seeds the error is not known well."""
_LEAST_NOISY = 3
"""How many of the best rates tell the noise of a seed: where training breaks down it is another."""


@dataclass(frozen=True)
class Tried:
    """A max_lr, and what 1cycle trainings with it scored on the same seeds as with the others."""

    lr: float
    scores: tuple[float | None, ...]
    """None: of one that diverged."""

    @property
    def mean(self) -> float | None:
        """None where one diverged: such a rate is no good."""
        scores = [score for score in self.scores if score is not None]
        return fmean(scores) if len(scores) == len(self.scores) > 0 else None


@dataclass(frozen=True)
class Decision:
    """Where the best rate lies by what was tried."""

    suggestion: float
    low: float | None
    """The nearest rate below it that is surely worse, and so are all below that; None where there is none."""
    high: float | None


def beyond(tried: Sequence[Tried], near: float, direction: str) -> float | None:
    """The rate to try next, half a decade beyond the end at which the best lies; None where it lies at none.

    Args:
        tried: as for `decide`.
    """
    means = _means(tried, direction)
    best = _best(tried, means, near)
    if best is None or 0 < best < len(tried) - 1:
        return None
    return tried[best].lr * (HALF_DECADE if best else 1 / HALF_DECADE)


def decide(tried: Sequence[Tried], near: float, direction: str) -> Decision | None:
    """The best rate, or midway to a neighbour that is as good within one standard error; None where all diverged.

    Args:
        tried: rates in rising order.
        near: among equals, the rate that lies nearest to it is the best.
    """
    means = _means(tried, direction)
    best = _best(tried, means, near)
    if best is None:
        return None
    error = _error(tried, means)
    equals = [i for i in (best - 1, best, best + 1) if 0 <= i < len(tried) and means[i] >= means[best] - error]
    # With a single seed only a rate that diverged is surely worse.
    margin = _SURE * error if len(tried[best].scores) > 1 else np.inf
    worse = [means[i] == -np.inf or means[i] < means[best] - margin for i in range(len(tried))]
    return Decision(
        suggestion=float(np.exp(fmean(np.log(tried[i].lr) for i in equals))),
        low=next((tried[i].lr for i in reversed(range(best)) if all(worse[: i + 1])), None),
        high=next((tried[i].lr for i in range(best + 1, len(tried)) if all(worse[i:])), None),
    )


def _means(tried: Sequence[Tried], direction: str) -> list[float]:
    """Mean scores, the larger the better; minus infinity where one diverged."""
    sign = 1.0 if direction == "maximize" else -1.0
    return [-np.inf if one.mean is None else sign * one.mean for one in tried]


def _best(tried: Sequence[Tried], means: Sequence[float], near: float) -> int | None:
    if not tried or max(means) == -np.inf:
        return None
    return max(range(len(tried)), key=lambda i: (means[i], -abs(np.log(tried[i].lr / near))))


def _error(tried: Sequence[Tried], means: Sequence[float]) -> float:
    """Standard error of the difference of two rates' means; 0 where there is one seed, of which nothing is known."""
    ranked = sorted((i for i in range(len(tried)) if means[i] > -np.inf), key=lambda i: -means[i])[:_LEAST_NOISY]
    scores = [[score for score in tried[i].scores if score is not None] for i in ranked]
    seeds = len(scores[0])
    return float(np.sqrt(fmean(variance(of_one) for of_one in scores) * 2 / seeds)) if seeds > 1 else 0.0
