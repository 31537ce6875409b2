"""Representative hyperparameters of a space: for a first model, and to see whether the space changes the model."""

from __future__ import annotations

import math
from collections.abc import Callable

from lab.space import Choice, Dimension, Float, FromBounds, Int, Params, Space, Value


def template_params(space: Space) -> Params:
    """The middle of the space."""
    return _pick(space, _middle)


def corner_params(space: Space) -> tuple[Params, ...]:
    """The low and the high end of every dimension at once, and each option of each choice."""
    low, high = _pick(space, _low), _pick(space, _high)
    options = [
        {**low, name: option}
        for name, dimension in space.items()
        if isinstance(dimension, Choice) and name in low
        for option in dimension.options
    ]
    return (low, high, *options)


def _pick(space: Space, pick: Callable[[Dimension], Value]) -> Params:
    params: Params = {}
    for name, dimension in space.items():
        if space.active(name, params):
            params[name] = pick(dimension)
    return params


def _middle(dimension: Dimension) -> Value:
    match dimension:
        case Float(low, high, log):
            return math.sqrt(low * high) if log else (low + high) / 2
        case Int(low, high, log):
            return round(math.sqrt(low * high)) if log else (low + high) // 2
        case Choice(options):
            return options[0]
        case FromBounds():
            return 1e-3


def _low(dimension: Dimension) -> Value:
    match dimension:
        case Float(low) | Int(low):
            return low
        case _:
            return _middle(dimension)


def _high(dimension: Dimension) -> Value:
    match dimension:
        case Float(_, high) | Int(_, high):
            return high
        case Choice(options):
            return options[-1]
        case _:
            return _middle(dimension)
