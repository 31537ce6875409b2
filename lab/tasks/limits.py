"""The ends between which a metric lies: an interval around its mean goes no further."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"accuracy": (0, 1), "micro_f1": (0, 1), "calibration_error": (0, 1), "nll": (0, math.inf), "rmse": (0, math.inf)}
)


def within_limits(low: float, high: float, metric: str, values: Iterable[float]) -> tuple[float, float]:
    """An interval around some values of a metric, cut where the metric ends."""
    least, most = limits(metric, values)
    return max(low, least), min(high, most)


def limits(metric: str, values: Iterable[float]) -> tuple[float, float]:
    """The ends of a metric that comes with the package.

    There are none where a user's metric has its name and other values, as an accuracy in per cent.
    """
    low, high = _LIMITS.get(metric, (-math.inf, math.inf))
    return (low, high) if all(low <= value <= high for value in values) else (-math.inf, math.inf)
