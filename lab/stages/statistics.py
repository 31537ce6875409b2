"""A few values of a metric, as a mean with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.record.artefact import Measured
from lab.tasks.limits import within_limits


@dataclass(frozen=True)
class Interval:
    """Mean, standard deviation and 95 % interval of `n` values; no spread of a single one, no interval where it is
    unknown."""

    mean: Measured
    std: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(
    values: Sequence[float], metric: str, level: float = 0.95, spread: tuple[float, int] = (0.0, 0)
) -> Interval:
    """Student's t, cut where the metric cannot lie.

    Equal values say that a metric has steps, and not that nothing varies: their mean has the interval of `spread`, or
    none.

    Args:
        spread: the standard deviation of values like these, and its degrees of freedom; 0: nobody knows it.
    """
    from scipy import stats  # takes longer than all that only reads an artefact

    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Interval(mean, None, None, None, n)
    equal = min(values) == max(values)
    std = 0.0 if equal else float(np.std(values, ddof=1))
    likely, freedom = spread if equal else (std, n - 1)
    if not likely or not freedom:
        return Interval(mean, std, None, None, n)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * likely / n**0.5
    low, high = within_limits(mean - half, mean + half, metric, values)
    return Interval(mean, std, low, high, n)
