"""A stage's artefact as a frozen dataclass, and the one form of it that a file holds.

Whoever reads is strict in what stands there, and patient with other versions: a field that a version before did not
have takes its default, and one that a later version has is left aside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from lab.errors import RecordError
from lab.record.folder import json_form, read_json

A = TypeVar("A")

Measured: TypeAlias = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that may have come out as NaN or infinite: JSON has neither, so null stands for both."""

_ADVICE = "restore it from a copy, or delete it and resume"


def to_json(artefact: object) -> dict[str, Any]:
    """An artefact as its file has it."""
    assert is_dataclass(artefact)
    assert not isinstance(artefact, type)
    form: dict[str, Any] = json_form(asdict(artefact))
    return form


def read_artefact(path: Path, kinds: Sequence[type[A]]) -> A:
    """The artefact that a file holds.

    Args:
        kinds: dataclasses that it may be, the usual one first; it is taken for the first whose required fields it has.

    Raises:
        RecordError: the file is no artefact of these; with the keys that it lacks, or the value that it cannot have.
    """
    value = read_json(path)
    usual, *others = kinds
    # Some fields of the usual kind may be null; another kind says something in them, or it is none.
    instead = (kind for kind in others if all(value.get(name) is not None for name in _required(kind)))
    kind: Any = usual if all(name in value for name in _required(usual)) else next(instead, usual)
    try:
        artefact: A = _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise RecordError(f"{path}: {_refusal(error)}; {_ADVICE}") from None
    return artefact


def _required(kind: type[Any]) -> list[str]:
    return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _refusal(error: ValidationError) -> str:
    """All keys that are missing, else the first value that is wrong."""
    errors = error.errors()
    missing = [_where(one) for one in errors if one["type"] == "missing"]
    if missing:
        return f"lacks {', '.join(missing)}"
    first = errors[0]
    return f"{_where(first)}: {str(first['input'])[:80]!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _where(error: ErrorDetails) -> str:
    return ".".join(map(str, error["loc"]))
