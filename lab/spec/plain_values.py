"""What a spec's values may be at all: as deep, many and long as anybody writes, and nothing that no file holds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from lab.errors import SpecError

MOST = 100_000
"""Values of a spec; what an alias of YAML stands for counts each time."""
DEEPEST = 64
_LONGEST = 10_000
_LARGEST = 2**1023
"""Whole numbers above it have no float."""


def check_values(value: object, path: str) -> None:
    """Refuse what could not be handled, or not be shown.

    Raises:
        SpecError: with the place and what is allowed.
    """
    _check(value, path, 0, [MOST])


def _check(value: object, path: str, depth: int, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise SpecError(path, f"holds more than {MOST} values")
    if depth > DEEPEST:
        raise SpecError(path[:80], f"is nested more than {DEEPEST} deep, or within itself")
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int):
        if not -_LARGEST < value < _LARGEST:
            raise SpecError(path, f"a whole number of {value.bit_length()} bits is out of range")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check(key, path, depth + 1, left)
            _check(inner, f"{path}.{key}" if path else str(key), depth + 1, left)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check(inner, path, depth + 1, left)


def _check_text(text: str, path: str) -> None:
    if len(text) > _LONGEST:
        raise SpecError(path, f"a text of {len(text)} characters is longer than {_LONGEST}")
    wrong = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
    if wrong is not None:
        shown = "".join(c if c != wrong else "?" for c in text[:60])
        raise SpecError(path, f"{shown!r} holds U+{ord(wrong):04X}, which no file can hold")


def shown(value: object) -> str:
    """The beginning of a value, for a message; of one that is large, no more is looked at."""
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)} keys"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(chain((shown(one) for one in value[:3]), ["..."] if len(value) > 3 else []))
        return f"[{inner}]" if len(inner) < 60 else f"a list of {len(value)} values"
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_plain(value: Any) -> Any:
    """A number of NumPy's as Python's own; anything else as it is.

    >>> as_plain(np.float32(0.5)), as_plain(np.int64(3)), as_plain("adamw")
    (0.5, 3, 'adamw')
    """
    return value.item() if isinstance(value, np.generic) else value
