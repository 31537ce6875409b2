"""Every field of a schedule has the type it is annotated with, or is refused in one line."""

from __future__ import annotations

import math
import types
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from lab.errors import SpecError, nearest


@cache
def hints(cls: type) -> dict[str, Any]:
    """Field name to resolved annotation."""
    return get_type_hints(cls)


def coerce(path: str, value: object, hint: Any) -> Any:
    """`value` as a plain Python value of the annotated type (numpy's scalars and lists included).

    Raises:
        SpecError: it is none; a bool is no number, and a number is finite.
    """
    if isinstance(hint, types.UnionType):  # here always `T | None`
        return None if value is None else coerce(path, value, get_args(hint)[0])
    origin = get_origin(hint)
    if origin is Literal:
        return _choice(path, value, get_args(hint))
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise SpecError(path, f"{value!r} is not a list")
        return tuple(coerce(f"{path}.{i}", item, get_args(hint)[0]) for i, item in enumerate(value))
    if hint is float:
        return _number(path, value)
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise SpecError(path, f"{value!r} is not a whole number")
        return int(value)
    if hint is bool:
        if not isinstance(value, bool | np.bool_):
            raise SpecError(path, f"{value!r} is not true or false")
        return bool(value)
    if not isinstance(value, hint):
        raise SpecError(path, f"{value!r} is not a {hint.__name__.lower()}")
    return value


def _number(path: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SpecError(path, f"{value!r} is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpecError(path, f"{value!r} is not finite")
    return number


def _choice(path: str, value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        hint = nearest(value, choices) if isinstance(value, str) else ""
        raise SpecError(path, f"{value!r} is unknown{hint}; choices: {', '.join(choices)}")
    return value
