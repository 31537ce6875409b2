"""Numbers as people read them, alike on the page, in a terminal and in sentences."""

from __future__ import annotations

from typing import Any


def number(value: Any, digits: int = 4) -> str:
    """A number to so many digits, "-" for none, and anything else as it is.

    >>> number(0.123456), number(float("nan")), number(12), number("adamw")
    ('0.1235', '-', '12', 'adamw')
    """
    if value is None or value != value:  # NaN is what no number came of
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
