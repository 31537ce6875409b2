"""A table's columns in as few bytes as hold them, and given as pandas has them, one at a time. n rows.

A table of text takes several times the bytes of its file, and a copy of it for each look at all of its columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.tasks.table.values import PADDED, is_text, typed

MOST_TEXTS = 2**14
"""Different texts of a column that is held as codes, exactly as they are written."""
_EXACT = 2.0**53
_FEW_CELLS = 2**20
"""Cells of rows whose columns are kept as they were given: where columns are many, to give each takes longest."""


@dataclass(frozen=True)
class _Coded:
    """Few different texts, and which of them stands in each row; the first is for none."""

    codes: NDArray[np.unsignedinteger[Any]]
    texts: Any

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.int64]) -> Any:
        return self.texts.take(self.codes[rows].astype(np.int64))

    def typed(self, rows: NDArray[np.int64]) -> Any:
        """As `values.typed` has it; each different text is looked at once, and again only where these rows may be
        numbers and others are not."""
        codes = self.codes[rows]
        there = np.bincount(codes, minlength=len(self.texts)) > 0
        gaps, there[0] = there[0], False
        if not there.any():
            return self.take(rows)
        numbers = self._numbers
        if numbers is None:
            some = typed(pd.Series(self.texts[there]))
            if is_text(some):
                return self.take(rows)
            packed = some.to_numpy()
            numbers = np.zeros(len(self.texts), dtype=packed.dtype)
            numbers[there] = packed
        if gaps:
            numbers = numbers.astype(np.float64)
            numbers[0] = np.nan
        return numbers[codes]

    @cached_property
    def _numbers(self) -> NDArray[Any] | None:
        """The number that each text is, where all are; None where not, or where some of them would have more digits by
        themselves."""
        numbers = typed(pd.Series(self.texts[1:]))
        if is_text(numbers) or (numbers.dtype == np.float64 and (numbers.abs() > _EXACT).any()):
            return None
        packed = numbers.to_numpy()
        return np.concatenate([np.zeros(1, dtype=packed.dtype), packed])

    @property
    def nbytes(self) -> int:
        return int(self.codes.nbytes + self.texts.nbytes)


class Held:
    """Rows of a table whose columns are held as they were read; another choice of rows copies none of them.

    Stands where a data frame could whose columns are looked at one by one. The index of each is the row of the file.
    """

    def __init__(self, columns: Mapping[str, Any], rows: NDArray[np.int64] | None = None) -> None:
        self._columns = dict(columns)
        self._index = pd.RangeIndex(len(next(iter(self._columns.values()), ()))) if rows is None else pd.Index(rows)
        self._kept: dict[tuple[str, bool], pd.Series[Any]] = {}

    @property
    def columns(self) -> Sequence[str]:
        return list(self._columns)

    @property
    def index(self) -> pd.Index[Any]:
        return self._index

    @property
    def nbytes(self) -> int:
        """What the columns take, all of their rows."""
        return sum(int(column.nbytes) for column in self._columns.values())

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> pd.Series[Any]:
        return self._column(name, False)

    def typed(self, name: str) -> pd.Series[Any]:
        """A column as `values.typed` has it."""
        return self._column(name, True)

    def _column(self, name: str, as_typed: bool) -> pd.Series[Any]:
        if (name, as_typed) in self._kept:
            return self._kept[name, as_typed]
        column = self._columns[name]
        if as_typed and isinstance(column, _Coded):
            values = pd.Series(column.typed(self._rows), index=self._index, name=name, copy=False)
        elif as_typed:
            values = typed(self._column(name, False))
        else:
            values = pd.Series(column.take(self._rows), index=self._index, name=name, copy=False)
        if len(self) * len(self._columns) <= _FEW_CELLS:
            self._kept[name, as_typed] = values
        return values

    @property
    def _rows(self) -> NDArray[np.int64]:
        return self._index.to_numpy()

    @property
    def _chosen(self) -> NDArray[np.int64] | None:
        return None if isinstance(self._index, pd.RangeIndex) else self._rows

    def take(self, rows: NDArray[np.int64]) -> Held:
        """Some of these rows, by their positions."""
        return Held(self._columns, self._rows[rows])

    def choose(self, names: Sequence[str]) -> Held:
        """These columns alone."""
        return Held({name: self._columns[name] for name in names}, self._chosen)

    def replace(self, name: str, values: pd.Series[Any]) -> Held:
        """Another column [n] in place of one; rows that are not among these are nothing from now on."""
        positions = np.zeros(len(self._columns[name]), dtype=np.int64)
        positions[self._rows] = np.arange(len(self._rows))
        return Held({**self._columns, name: values.array.take(positions)}, self._chosen)

    def frame(self) -> pd.DataFrame:
        """All of it as a data frame."""
        return pd.DataFrame({name: self[name] for name in self._columns}, index=self._index)


Table: TypeAlias = pd.DataFrame | Held
"""What has columns by name."""


def typed_column(table: Table, name: str) -> pd.Series[Any]:
    """A column as `values.typed` has it."""
    return table.typed(name) if isinstance(table, Held) else typed(table[name])


def held(columns: Iterator[tuple[str, pd.Series[Any]]]) -> Held:
    """Columns that are whole already, each let go of once it is held."""
    made: dict[str, Any] = {}
    for name, values in columns:
        growing = Growing(numbers=False)
        if is_text(values):
            growing.add(values)
        made[name] = growing.done() if is_text(values) else values.array
    return Held(made)


class Growing:
    """A column of text while it is read, part by part.

    Few different texts are held as they are. Where there are more, numbers that are spelled like numbers are held as
    such, as a parquet has them.
    """

    def __init__(self, numbers: bool = True) -> None:
        self._numbers = numbers
        self._code_of: dict[str, int] | None = {}
        self._parts: list[Any] = []

    def add(self, values: pd.Series[Any]) -> None:
        if self._code_of is not None:
            text_of, texts = pd.factorize(values)
            code_of = self._code_of
            if len(texts) <= MOST_TEXTS:
                codes = [code_of.setdefault(text, len(code_of) + 1) for text in texts]
                if len(code_of) <= MOST_TEXTS:
                    self._parts.append(np.array([*codes, 0], dtype=np.uint16)[text_of])  # -1, the last, where missing
                    return
            earlier, self._code_of = self._texts(), None
            self._parts = [self._part(pd.Series(earlier.take(codes.astype(np.int64)))) for codes in self._parts]
        self._parts.append(self._part(values))

    def _texts(self) -> Any:
        assert self._code_of is not None  # while there are few
        return pd.array([None, *self._code_of], dtype="str")

    def _part(self, values: pd.Series[Any]) -> Any:
        """Numbers where all of them are, and else text."""
        if not self._numbers:
            return values.array
        if values.isna().all():
            return np.full(len(values), np.nan)
        numbers = typed(values)
        if is_text(numbers) or values.str.match(PADDED).fillna(False).any():
            return values.array
        return numbers.to_numpy()

    def done(self) -> Any:
        """The column; None where it is to be read again as text: some parts of it were numbers, and others not."""
        if self._code_of is not None:
            codes = np.concatenate(self._parts) if self._parts else np.zeros(0, dtype=np.uint16)
            return _Coded(codes.astype(np.uint8) if len(self._code_of) < 2**8 else codes, self._texts())
        numbers = [isinstance(part, np.ndarray) for part in self._parts]
        if any(numbers) and not all(numbers):
            return None
        return pd.concat([pd.Series(part) for part in self._parts], ignore_index=True).array
