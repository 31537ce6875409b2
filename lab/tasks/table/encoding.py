"""A table's rows as arrays, by what was learned of its columns. n rows, q bins of a number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.tasks.table.columns import Category, Column, Date, Number
from lab.tasks.table.levels import as_text, codes_among
from lab.tasks.table.values import date_parts, infinite, read_dates, to_numbers

_FAR = 1e4
"""Standard deviations from the mean, and no further: what no training row is, whatever a later row holds."""


@dataclass
class Notes:
    """What was done about what did not fit, collected while a table is encoded."""

    lines: list[str] = field(default_factory=list)


def to_codes(column: Category, values: pd.Series[Any], notes: Notes) -> NDArray[np.int64]:
    """Codes [n]: 1 + the level's number; 0 where missing or not seen in training."""
    text = as_text(values)
    code_of, padded = codes_among(column.levels, sorted(set(text)))
    codes = np.array([code_of.get(value, 0) for value in text], dtype=np.int64)
    if padded:
        count, example = sum(value in padded for value in text), min(padded)
        notes.lines.append(
            f"column {column.name!r}: {count} rows hold numbers with other leading zeros than in training (such as "
            f"{example!r} for {padded[example]!r}); they are taken for the same"
        )
    unseen = (codes == 0) & values.notna().to_numpy()
    if unseen.any():
        example = text[int(np.flatnonzero(unseen)[0])]
        notes.lines.append(
            f"column {column.name!r}: {int(unseen.sum())} rows hold values not seen in training (such as "
            f"{example!r}); they are treated as unknown"
        )
    return codes


@dataclass(frozen=True)
class Encoded:
    """Rows as arrays: codes [n, categories], raw numbers [n, numbers] with NaN where missing."""

    codes: NDArray[np.int64]
    numbers: NDArray[np.float64]


def categories_of(columns: tuple[Column, ...]) -> tuple[Category, ...]:
    return tuple(c for c in _flat(columns) if isinstance(c, Category))


def numbers_of(columns: tuple[Column, ...]) -> tuple[Number, ...]:
    return tuple(c for c in _flat(columns) if isinstance(c, Number))


def _flat(columns: tuple[Column, ...]) -> list[Number | Category]:
    return [part for c in columns for part in (c.parts if isinstance(c, Date) else (c,))]


def encode(columns: tuple[Column, ...], frame: pd.DataFrame, notes: Notes) -> Encoded:
    """A table's rows by what was learned; a column that the table lacks counts as missing in every row."""
    codes: list[NDArray[np.int64]] = []
    numbers: list[NDArray[np.float64]] = []
    for column in columns:
        if column.name not in frame.columns:
            notes.lines.append(f"column {column.name!r} is not in the table; it is treated as missing in every row")
            values = pd.Series([None] * len(frame), index=frame.index, name=column.name, dtype="object")
        else:
            values = frame[column.name]
        parts: list[tuple[Number | Category, pd.Series[Any]]]
        if isinstance(column, Date):
            dates = read_dates(values, column.format)
            lost = int((dates.isna() & values.notna()).sum())
            if lost:
                what = f"dates that cannot be read as {column.format or 'ISO8601'}"
                notes.lines.append(f"column {column.name!r}: {lost} rows hold {what}; they are treated as missing")
            date_columns = date_parts(dates)
            parts = [(part, date_columns[part.name.rpartition(".")[2]].rename(part.name)) for part in column.parts]
        else:
            parts = [(column, values)]
        for part, series in parts:
            if isinstance(part, Category):
                codes.append(to_codes(part, series, notes))
            else:
                numbers.append(to_numbers(series))
                if count := infinite(series):
                    notes.lines.append(
                        f"column {part.name!r}: {count} rows hold infinite numbers; they are treated as missing"
                    )
    n = len(frame)
    return Encoded(
        np.stack(codes, axis=1) if codes else np.zeros((n, 0), dtype=np.int64),
        np.stack(numbers, axis=1) if numbers else np.zeros((n, 0)),
    )


def bins_of(columns: tuple[Column, ...]) -> int:
    """How many bins stand at the end of the inputs. A single bin would say what the number itself says."""
    return sum(len(number.edges) - 1 for number in numbers_of(columns) if len(number.edges) > 2)


def inputs(columns: tuple[Column, ...], encoded: Encoded) -> NDArray[np.float32]:
    """What the net takes, float32 [n, f]: codes, standardised numbers, indicators of missing ones, bins."""
    plain, indicators, bins = [], [], []
    for number, values in zip(numbers_of(columns), encoded.numbers.T, strict=True):
        filled = np.where(np.isnan(values), number.median, values)
        with np.errstate(over="ignore"):
            plain.append(np.clip((filled - number.mean) / number.std, -_FAR, _FAR))
        if number.missing:
            indicators.append(np.isnan(values).astype(np.float64))
        if len(number.edges) > 2:  # as in `bins_of`
            bins += list(_piecewise(filled, np.array(number.edges)).T)
    parts = [*encoded.codes.T.astype(np.float64), *plain, *indicators, *bins]
    return np.stack(parts, axis=1).astype(np.float32)


def features(columns: tuple[Column, ...], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """What `inputs` gave [n, f], as trees take it: codes, then standardised numbers, NaN where missing."""
    numbers = numbers_of(columns)
    first = len(categories_of(columns))
    indicators = first + len(numbers)
    made = x[:, :indicators].astype(np.float64)
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
