"""What a spec says of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.errors import SpecError
from lab.tasks.table.columns import TYPES, Type
from lab.tasks.table.dialect import MISSING, Dialect


@dataclass(frozen=True)
class TableOptions:
    """What a spec says of a table; see `Table`."""

    path: str
    target: str | list[str]
    test_path: str | None = None
    split: Any = "auto"
    ignore: Sequence[str] = field(default_factory=list)
    types: Mapping[str, Type] = field(default_factory=dict)
    target_type: str | None = None
    missing: Sequence[str] = MISSING
    separator: str | None = None
    decimal: str | None = None
    encoding: str = "utf-8"
    bins: int = 16
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.ignore, str):
            object.__setattr__(self, "ignore", [self.ignore])  # one column, as `target` may be one
        if not isinstance(self.path, str) or not self.path:
            raise SpecError("task.path", f"{self.path!r} is not a path")
        if self.test_path is not None and not isinstance(self.test_path, str):
            raise SpecError("task.test_path", f"{self.test_path!r} is not a path")
        targets = self.target if isinstance(self.target, (list, tuple)) else [self.target]
        if not targets or not all(isinstance(name, str) and name for name in targets):
            raise SpecError("task.target", f"{self.target!r} is neither a column's name nor a list of them")
        if len(set(targets)) < len(targets):
            raise SpecError("task.target", f"{self.target!r} names a column twice")
        if not isinstance(self.ignore, (list, tuple)) or not _are_names(self.ignore):
            raise SpecError("task.ignore", f"{self.ignore!r} is not a list of columns")
        if not isinstance(self.types, Mapping) or not _are_names(list(self.types)):
            raise SpecError("task.types", f"{self.types!r} is not a mapping of columns to {', '.join(TYPES)}")
        if not isinstance(self.allow_leaks, bool):
            raise SpecError("task.allow_leaks", f"{self.allow_leaks!r} is not true or false")
        for name, kind in self.types.items():
            if kind not in TYPES:
                raise SpecError(f"task.types.{name}", f"{kind!r} is unknown; choices: {', '.join(TYPES)}")
        if self.target_type not in (None, "number", "category"):
            raise SpecError("task.target_type", f"{self.target_type!r} is unknown; choices: number, category")
        if not isinstance(self.missing, (list, tuple)) or not all(isinstance(word, str) for word in self.missing):
            raise SpecError(
                "task.missing", f"{self.missing!r} is not a list of words; quote those that YAML reads otherwise"
            )
        separator = {"tab": "\t", "\\t": "\t"}.get(str(self.separator), self.separator)
        if separator is not None and (not isinstance(separator, str) or len(separator) != 1 or separator in '."\n'):
            raise SpecError("task.separator", f"{self.separator!r} is not one character, such as ',', ';', '|' or tab")
        object.__setattr__(self, "separator", separator)
        if self.decimal not in (None, ".", ","):
            raise SpecError("task.decimal", f"{self.decimal!r} is unknown; choices: '.', ','")
        if not _is_encoding(self.encoding):
            raise SpecError("task.encoding", f"{self.encoding!r} is unknown; such as utf-8, cp1252, latin-1, utf-16")
        if isinstance(self.bins, bool) or not isinstance(self.bins, int) or not 0 <= self.bins <= 256:
            raise SpecError("task.bins", f"{self.bins!r} is not a whole number from 0 to 256")

    @property
    def dialect(self) -> Dialect:
        """How its text files are written."""
        return Dialect(self.missing, self.separator, self.decimal, self.encoding)

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)


def check_layers(layers: object) -> None:
    """Refuse widths of hidden layers that are none.

    Raises:
        SpecError: with what was given.
    """
    given = layers if isinstance(layers, (list, tuple)) else ()
    if not given or any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in given):
        raise SpecError("task.layers", f"{layers!r} is not a list of widths of at least 1")


def _is_encoding(name: object) -> bool:
    try:
        return isinstance(name, str) and bool("a".encode(name))
    except LookupError:  # also of codecs that are none of text
        return False


def _are_names(values: Sequence[object]) -> bool:
    """Different names."""
    return all(isinstance(name, str) for name in values) and len(set(values)) == len(values)
