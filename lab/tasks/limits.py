"""The ends between which a metric lies: an interval around its mean goes no further."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

_SHARES = ("accuracy", "balanced_accuracy", "micro_f1", "macro_f1", "auc", "calibration_error")
_LOSSES = ("nll", "log_loss", "rmse", "mae", "mape")
_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {**dict.fromkeys(_SHARES, (0, 1)), **dict.fromkeys(_LOSSES, (0, math.inf)), "r2": (-math.inf, 1)}
)


def within_limits(low: float, high: float, metric: str, values: Iterable[float]) -> tuple[float, float]:
    """An interval around some values of a metric, cut where the metric ends."""
    least, most = limits(metric, values)
    return max(low, least), min(high, most)


def limits(metric: str, values: Iterable[float]) -> tuple[float, float]:
    """The ends of a metric that comes with the package; one of several targets has its name behind the metric's.

    There are none where a user's metric has its name and other values, as an accuracy in per cent.
    """
    name = next((name for name in _LIMITS if metric == name or metric.startswith(f"{name}_")), "")
    low, high = _LIMITS.get(name, (-math.inf, math.inf))
    return (low, high) if all(low <= value <= high for value in values) else (-math.inf, math.inf)
