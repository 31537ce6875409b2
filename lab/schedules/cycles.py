"""Where cycles begin, in whole steps: exact rational arithmetic, rounded down once per boundary.

Each function returns the boundaries [cycles + 1]: cycle k has the steps starts[k] <= step < starts[k + 1].
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log

import numpy as np

from lab.errors import SpecError
from lab.schedules.curves import Ints, decimal


def equal_starts(total: int, cycles: int) -> Ints:
    """Boundaries k * total // cycles.

    Raises:
        SpecError: more cycles than steps.
    """
    if total < cycles:
        raise SpecError("schedule.cycles", f"{cycles} cycles do not fit into {total} steps")
    return np.arange(cycles + 1, dtype=np.int64) * total // cycles


def growing_starts(total: int, cycles: int, growth: float) -> Ints:
    """Boundaries of `cycles` cycles that fill `total` steps, each `growth` (> 0) times as long as the one before.

    Raises:
        SpecError: a cycle would have no step.
    """
    if growth == 1 or total < cycles:
        return equal_starts(total, cycles)
    starts = _growing(total, cycles, growth)
    if starts is None or (np.diff(starts) < 1).any():
        raise SpecError("schedule.cycles", f"{cycles} cycles with T_mul {growth!r} do not fit into {total} steps")
    return starts


@lru_cache(maxsize=64)
def _growing(total: int, cycles: int, growth: float) -> Ints | None:
    # Most impossible wishes are seen in floating point, before numbers with thousands of digits are made.
    shrink = exp(-abs(log(growth)))
    if total * shrink ** (cycles - 1) * (1 - shrink) < 0.5 * (1 - shrink**cycles):
        return None
    rate = decimal(growth)
    length = rate.denominator ** (cycles - 1)
    sums = [0]
    for _ in range(cycles):
        sums.append(sums[-1] + length)
        length = length * rate.numerator // rate.denominator
    return _fixed([total * s // sums[-1] for s in sums])


def period_starts(total: int, period: int, growth: float = 1.0) -> Ints:
    """Boundaries period * (1 + growth + ... + growth^(k-1)); the last cycle ends with the run, so it may be shorter.

    Raises:
        SpecError: cycles shrink (`growth` < 1) below one step before the run ends.
    """
    if growth == 1:
        return np.append(np.arange(0, total, period, dtype=np.int64), total)
    starts = _periodic(total, period, growth)
    if starts is None:
        allowed = "a longer period, fewer steps or T_mul >= 1 is needed"
        raise SpecError("schedule.T_mul", f"{growth!r} shrinks the cycles of {total} steps below one step; {allowed}")
    return starts


@lru_cache(maxsize=64)
def _periodic(total: int, period: int, growth: float) -> Ints | None:
    rate = decimal(growth)
    starts, numerator, denominator, length = [0], period, 1, period
    while (start := numerator // denominator) < total:
        if start <= starts[-1]:
            return None
        starts.append(start)
        length *= rate.numerator
        denominator *= rate.denominator
        numerator = numerator * rate.denominator + length
    return _fixed([*starts, total])


def _fixed(starts: list[int]) -> Ints:
    """An array that its cache can share."""
    array = np.array(starts, dtype=np.int64)
    array.setflags(write=False)
    return array
