"""Ranges to be widened, as the spec writes them: of what lies beyond an end that the best settings lie at."""

from __future__ import annotations

from lab.spec.space import Dimension, Float, FromBounds, Int, Space

_STEP = 0.25
"""By which share of a range, on its own scale, it is to be widened."""


def widened(declared: Space, space: Space, sides: dict[str, str]) -> dict[str, str]:
    """For each hyperparameter whose best lies at an end: the setting of the spec that widens its range.

    Args:
        declared: the space as written, where a range may still be that of the range test.
        space: the same with its numbers.
        sides: `low` or `high` by name.
    """
    settings = {}
    for name, side in sides.items():
        dimension = space[name]
        end = _further(dimension, side)
        if end is None:
            continue
        if isinstance(declared[name], FromBounds):
            assert isinstance(dimension, Float)  # what the range test finds
            low, high = (end, dimension.high) if side == "low" else (dimension.low, end)
            # Rounded outwards, so that no trial falls out of the range.
            settings[name] = f"space.{name}={{low: {0.995 * low:.3g}, high: {1.005 * high:.3g}, log: true}}"
        else:
            settings[name] = (
                f"space.{name}.{side}={end:.3g}" if isinstance(end, float) else f"space.{name}.{side}={end}"
            )
    return settings


def _further(dimension: Dimension, side: str) -> float | int | None:
    """A new end, beyond the old one by a quarter of the range; None where there is none."""
    if not isinstance(dimension, (Float, Int)):
        return None
    low, high = dimension.low, dimension.high
    sign = 1 if side == "high" else -1
    if dimension.log:
        factor = max((high / low) ** _STEP, 2.0)
        end = high * factor if side == "high" else low / factor
    else:
        end = (high if side == "high" else low) + sign * _STEP * (high - low)
        if low >= 0:
            end = max(end, 0.0)
        if low >= 0 and high < 1 and isinstance(dimension, Float):  # a share, as far as one can tell
            end = min(end, (1 + high) / 2)
    if isinstance(dimension, Float):
        return float(end)
    whole = max(round(end), high + 1) if side == "high" else min(round(end), low - 1)
    # What was counted from 0 or from 1 has nothing below that.
    return None if whole < 0 <= low or whole < 1 <= low else whole
