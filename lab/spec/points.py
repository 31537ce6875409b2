"""Representative hyperparameters of a space: for a first model, and to see whether the space changes the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lab.spec.space import Choice, Dimension, Float, FromBounds, Int, Params, Space, Value, ends


def template_params(space: Space, own: Mapping[str, Value] = MappingProxyType({})) -> Params:
    """The middle of the space; of a choice the first option, or what `own` says, where that is one of them."""
    return _pick(space, _middle, own)


def end_params(space: Space, name: str, own: Mapping[str, Value]) -> tuple[Params, ...]:
    """The middle of the space with each end, or each option, of one dimension."""
    return tuple(_pick(space, _middle, {**own, name: value}) for value in ends(space[name]))


def corner_params(space: Space) -> tuple[Params, Params]:
    """The low and the high end of every dimension at once."""
    return _pick(space, _low, {}), _pick(space, _high, {})


def _pick(space: Space, pick: Callable[[Dimension], Value], own: Mapping[str, Value]) -> Params:
    params: Params = {}
    for name, dimension in space.items():
        if space.active(name, params):
            chosen = own.get(name)
            params[name] = chosen if chosen is not None and chosen in ends(dimension) else pick(dimension)
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
