"""A table's rows as arrays, by what was learned of its columns. n rows, q bins of a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.tasks.input_columns import InputColumn
from lab.tasks.table.columns import Category, Column, Date, Number
from lab.tasks.table.held import Table, typed_column
from lab.tasks.table.levels import coded, codes_among
from lab.tasks.table.values import date_parts, infinite, read_dates, to_numbers

_FAR = 1e4
"""Standard deviations from the mean, and no further: what no training row is, whatever a later row holds."""

MISSING = 2 * _FAR
"""In place of a standardised number that is missing, where inputs are compact."""


@dataclass
class Notes:
    """What was done about what did not fit, collected while a table is encoded."""

    lines: list[str] = field(default_factory=list)


def to_codes(column: Category, values: pd.Series[Any], notes: Notes) -> NDArray[np.int64]:
    """Codes [n]: 1 + the level's number; 0 where missing or not seen; the last one where levels are rare."""
    text_of, texts = coded(values)
    texts.append("")  # where it is missing: a parquet may have an empty text for a level
    code_of, padded = codes_among(column.levels, sorted(set(texts)))
    codes: NDArray[np.int64] = np.array([code_of.get(text, 0) for text in texts], dtype=np.int64)[text_of]
    if padded:
        count = int(np.isin(text_of, [i for i, text in enumerate(texts) if text in padded]).sum())
        example = min(padded)
        notes.lines.append(
            f"column {column.name!r}: {count} rows hold numbers with other leading zeros than in training (such as "
            f"{example!r} for {padded[example]!r}); they are taken for the same"
        )
    unseen = (codes == 0) & (text_of >= 0)
    if column.rare:
        codes[unseen] = column.codes - 1
    elif unseen.any():
        example = texts[text_of[int(np.flatnonzero(unseen)[0])]]
        notes.lines.append(
            f"column {column.name!r}: {int(unseen.sum())} rows hold values not seen in training (such as "
            f"{example!r}); they are treated as unknown"
        )
    return codes


def categories_of(columns: tuple[Column, ...]) -> tuple[Category, ...]:
    return tuple(c for c in _flat(columns) if isinstance(c, Category))


def numbers_of(columns: tuple[Column, ...]) -> tuple[Number, ...]:
    return tuple(c for c in _flat(columns) if isinstance(c, Number))


def _flat(columns: tuple[Column, ...]) -> list[Number | Category]:
    return [part for c in columns for part in (c.parts if isinstance(c, Date) else (c,))]


@dataclass(frozen=True)
class Form:
    """How rows lie in the inputs [n, f] of what was learned of columns: codes, standardised numbers, then either
    indicators of missing ones and all bins, or, compact, the place of each number among its bins.

    Compact, the net's inputs are made of each batch anew (`expansion.Expansion`).
    """

    columns: tuple[Column, ...]
    compact: bool = False

    @property
    def width(self) -> int:
        """f"""
        numbers = numbers_of(self.columns)
        plain = len(categories_of(self.columns)) + len(numbers)
        if self.compact:
            return plain + sum(number.bins > 0 for number in numbers)
        return plain + sum(number.missing for number in numbers) + bins_of(self.columns)

    @property
    def column_of(self) -> NDArray[np.int64]:
        """The column [f] that each input is made of: the codes count from 0, the numbers behind them."""
        numbers = numbers_of(self.columns)
        first = len(categories_of(self.columns))
        owner = [*range(first + len(numbers))]
        if not self.compact:
            owner += [first + i for i, number in enumerate(numbers) if number.missing]
        for i, number in enumerate(numbers):
            owner += [first + i] * (min(number.bins, 1) if self.compact else number.bins)
        return np.array(owner, dtype=np.int64)

    @property
    def input_columns(self) -> tuple[InputColumn, ...]:
        """The table's columns, those that have inputs."""
        owner, first = self.column_of, len(categories_of(self.columns))
        code, number, made = 0, first, []
        for column in self.columns:
            by = []
            for part in column.parts if isinstance(column, Date) else (column,):
                by.append(code if isinstance(part, Category) else number)
                code, number = code + isinstance(part, Category), number + isinstance(part, Number)
            inputs = np.flatnonzero(np.isin(owner, by))
            made.append(InputColumn(column.name, tuple(inputs.tolist()), tuple(by), isinstance(column, Category)))
        return tuple(made)


def encode(form: Form, table: Table, notes: Notes) -> NDArray[np.float32]:
    """A table's rows as inputs, float32 [n, f], by what was learned; a column that the table lacks counts as missing in
    every row."""
    numbers = numbers_of(form.columns)
    first = len(categories_of(form.columns))
    indicator = first + len(numbers)
    at = indicator + (0 if form.compact else sum(number.missing for number in numbers))
    made = np.empty((len(table), form.width), dtype=np.float32)
    code = 0
    for part, values in _parts(form.columns, table, notes):
        if isinstance(part, Category):
            made[:, code] = to_codes(part, values, notes)
            code += 1
            continue
        raw = to_numbers(values)
        if count := infinite(values):
            notes.lines.append(f"column {part.name!r}: {count} rows hold infinite numbers; they are treated as missing")
        lacking = np.isnan(raw)
        raw[lacking] = part.median
        with np.errstate(over="ignore"):
            made[:, first] = np.clip((raw - part.mean) / part.std, -_FAR, _FAR)
        if part.missing and form.compact:
            made[lacking, first] = MISSING
        elif part.missing:
            made[:, indicator] = lacking
            indicator += 1
        first += 1
        if part.bins:
            edges = np.array(part.edges)
            if form.compact:
                made[:, at] = _filling(raw, edges)
                at += 1
            else:
                made[:, at : at + part.bins] = _piecewise(raw, edges)
                at += part.bins
    return made


def _parts(
    columns: tuple[Column, ...], table: Table, notes: Notes
) -> Iterator[tuple[Number | Category, pd.Series[Any]]]:
    """Each column with its values, and each part of a date with its own."""
    for column in columns:
        if column.name not in table.columns:
            notes.lines.append(f"column {column.name!r} is not in the table; it is treated as missing in every row")
            values = pd.Series([None] * len(table), index=table.index, name=column.name, dtype="object")
        else:
            values = typed_column(table, column.name) if isinstance(column, Number) else table[column.name]
        if not isinstance(column, Date):
            yield column, values
            continue
        dates = read_dates(values, column.format)
        lost = int((dates.isna() & values.notna()).sum())
        if lost:
            what = f"dates that cannot be read as {column.format or 'ISO8601'}"
            notes.lines.append(f"column {column.name!r}: {lost} rows hold {what}; they are treated as missing")
        of_dates = date_parts(dates)
        for part in column.parts:
            yield part, of_dates[part.name.rpartition(".")[2]].rename(part.name)


def bins_of(columns: tuple[Column, ...]) -> int:
    """How many bins stand at the end of the net's inputs."""
    return sum(number.bins for number in numbers_of(columns))


def features(form: Form, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """What `encode` gave [n, f], as trees take it: codes, then standardised numbers, NaN where missing."""
    numbers = numbers_of(form.columns)
    first = len(categories_of(form.columns))
    indicators = first + len(numbers)
    made = x[:, :indicators].astype(np.float64)
    if form.compact:
        made[:, first:][made[:, first:] == MISSING] = np.nan
        return made
    for i, column in enumerate(i for i, number in enumerate(numbers) if number.missing):
        made[x[:, indicators + i] > 0, first + column] = np.nan
    return made


def _piecewise(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, q]: how far each bin is filled, 0 to 1; the outer ones go beyond, as in the paper."""
    with np.errstate(over="ignore"):  # as below
        filled = (values[:, None] - edges[:-1]) / np.diff(edges)
    low = np.full(len(edges) - 1, 0.0)
    high = np.full(len(edges) - 1, 1.0)
    low[0], high[-1] = -1.0, 2.0  # bounded all the same: a freak value must not drown the others
    clipped: NDArray[np.float64] = np.clip(filled, low, high)
    return clipped


def _filling(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n]: the bin's number and how far it is filled, from which all of `_piecewise` follows."""
    last = len(edges) - 2
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, last)
    with np.errstate(over="ignore"):
        filling: NDArray[np.float64] = np.clip(bins + (values - edges[bins]) / np.diff(edges)[bins], -1.0, last + 2.0)
    return filling
