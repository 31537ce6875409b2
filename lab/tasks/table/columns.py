"""What a column is, learned from the training rows: a number, a category or a date.

Everything learned is plain values, so that JSON can hold it. n rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import TaskError
from lab.tasks.table.levels import as_text, frequent_levels, levels_among
from lab.tasks.table.options import Type
from lab.tasks.table.values import (
    codes,
    date_format,
    date_parts,
    is_nested,
    read_dates,
    row_number,
    to_numbers,
    typed,
    unreadable_date,
)

MAX_LEVELS = 24
"""Whole numbers of at most as many different values are categories: hours, months, grades."""
MANY_LEVELS, MOST_LEVELS = 1_000, 10_000
"""Different texts, above which they may be a category though most occur once (in few rows those are names, which a net
learns by heart); and levels of a category that have a code of their own."""
_UNIQUE = 0.9
_MOSTLY = 0.9
_LARGEST = 1e30
"""The square of such a number has room in 64 bits still, the number itself in 32."""
_PARTS: tuple[tuple[str, Type], ...] = (
    ("year", "number"), ("month", "category"), ("week", "number"), ("day_of_week", "category"), ("hour", "category"),
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A column of numbers: standardised, and encoded piecewise-linearly between quantiles.

    `edges` are the bins of the piecewise-linear encoding (Gorishniy et al. 2022, arXiv 2203.05556, eq. 1).
    """

    name: str
    mean: float
    std: float
    median: float
    missing: bool
    """Whether the training rows have missing values: then an indicator stands beside it."""
    edges: tuple[float, ...] = ()
    type: Type = "number"

    @property
    def bins(self) -> int:
        """How many bins it has beside it; none where a single one would say what the number itself says."""
        return len(self.edges) - 1 if len(self.edges) > 2 else 0


@dataclass(frozen=True)
class Category:
    """A column of categories; code 0 is for what is missing or was not seen in training."""

    name: str
    levels: tuple[str, ...]
    """As training wrote them; a cell is one of them by what it is, however it is written."""
    type: Type = "category"
    rare: int = 0
    """How many further levels training has, which share the last code with all that it has not: there are too many to
    learn something of each."""

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return 1 + len(self.levels) + (self.rare > 0)


@dataclass(frozen=True)
class Date:
    """A column of dates, taken apart into `parts`, each a column of its own."""

    name: str
    format: str | None
    """None: the file has dates, not text."""
    parts: tuple[Number | Category, ...]
    type: Type = "date"


Column: TypeAlias = Number | Category | Date


def dump_column(column: Column) -> dict[str, Any]:
    """A column as JSON can hold it."""
    return asdict(column, dict_factory=lambda pairs: {key: value for key, value in pairs if key != "rare" or value})


def load_column(value: Mapping[str, Any]) -> Column:
    """What `dump_column` gave."""
    rest = {key: v for key, v in value.items() if key not in ("levels", "edges", "parts")}
    match value["type"]:
        case "number":
            return Number(**rest, edges=tuple(value["edges"]))
        case "category":
            return Category(**rest, levels=tuple(value["levels"]))
        case _:
            parts = [load_column(part) for part in value["parts"]]
            return Date(**rest, parts=tuple(p for p in parts if not isinstance(p, Date)))


def infer_type(values: pd.Series[Any]) -> Type | str:
    """A column's type, seen from its training values; or, for one that is no use, the reason in words.

    Raises:
        TaskError: text in a column of numbers, with its row.
    """
    present = values.dropna()
    if len(present) == 0:
        return "is empty"
    if is_nested(present):
        return "holds lists or mappings"
    different = present.nunique()
    if different == 1 and not values.isna().any():
        return "has one value only"
    if pd.api.types.is_bool_dtype(present):
        return "category"
    if pd.api.types.is_datetime64_any_dtype(present):
        return "date"
    if pd.api.types.is_numeric_dtype(present):
        whole = bool((present == present.round()).all())
        if whole and different == len(values) and bool(present.is_monotonic_increasing) and len(values) > MAX_LEVELS:
            return "numbers the rows"
        return "category" if whole and different <= MAX_LEVELS else "number"
    text = present.astype("str")
    numbers = typed(text)
    if numbers is not text:
        return infer_type(numbers.reindex(values.index))
    numeric = pd.to_numeric(text, errors="coerce")
    different = len(set(as_text(text)))
    if different == 1 and not values.isna().any():
        return "has one value only"
    if numeric.notna().mean() >= _MOSTLY and not codes(text).any():
        bad = text[numeric.isna()]
        raise TaskError(
            f"column {values.name!r}: row {row_number(bad, 0)} holds {bad.iloc[0]!r}, and all but {len(bad)} of its "
            f"{len(text)} values are numbers; mend it, list it in task.missing beside the "
            f"words that are there by default, or say types: {{{values.name}: category}}"
        )
    if date_format(text) is not None:
        return "date"
    lost = unreadable_date(text, _MOSTLY)
    if lost is not None:
        raise TaskError(
            f"column {values.name!r}: row {row_number(text, lost)} holds {text.iloc[lost]!r}, which is not read as the "
            f"dates of other rows are; mend it, or say types: {{{values.name}: category}} or ignore: [{values.name}]"
        )
    if different > max(MAX_LEVELS, len(present) // 2) and not _has_levels(different, len(present)):
        return f"has {different} different texts in {len(present)} rows"
    return "category"


def _has_levels(different: int, rows: int) -> bool:
    """Whether texts of which most occur once say something by those that do not: they are many, and nearly all being
    different is what identifiers are."""
    return MANY_LEVELS < different < _UNIQUE * rows


def fit_column(values: pd.Series[Any], kind: Type, bins: int) -> Column:
    """Learn a column from its training values.

    Raises:
        TaskError: the values are not of the type that the user said.
    """
    name = str(values.name)
    match kind:
        case "number":
            return _fit_number(name, to_numbers(values), bins)
        case "category":
            rows, levels = int(values.notna().sum()), levels_among(values)
            if len(levels) > MOST_LEVELS or (2 * len(levels) > rows and _has_levels(len(levels), rows)):
                levels, rare = frequent_levels(values, MOST_LEVELS)
                return Category(name, levels, rare=rare)
            return Category(name, levels)
        case "date":
            present = values.dropna()
            format_ = None if pd.api.types.is_datetime64_any_dtype(present) else _format_of(name, present.astype(str))
            parts = date_parts(read_dates(values, format_))
            useful = [(part, type_) for part, type_ in _PARTS if parts[part].nunique() > 1]
            learned = [fit_column(parts[part].rename(f"{name}.{part}"), type_, bins) for part, type_ in useful]
            return Date(name, format_, tuple(p for p in learned if not isinstance(p, Date)))


def _format_of(name: str, text: pd.Series[str]) -> str:
    format_ = date_format(text)
    if format_ is None:
        lost = unreadable_date(text, _MOSTLY) or 0
        example = f"row {row_number(text, lost)} holds {text.iloc[lost]}"
        raise TaskError(f"column {name!r}: its values are not dates that one format reads ({example})")
    return format_


def _fit_number(name: str, values: NDArray[np.float64], bins: int) -> Number:
    numbers = values[np.isfinite(values)]
    if len(numbers) == 0:
        raise TaskError(f"column {name!r}: has no numbers in the training rows")
    largest = float(np.abs(numbers).max())
    if largest > _LARGEST:
        raise TaskError(f"column {name!r}: holds {largest:.3g}; at most {_LARGEST:g} can be learned from")
    std = float(numbers.std())
    return Number(
        name,
        float(numbers.mean()),
        std if std > 0 else 1.0,
        float(np.median(numbers)),
        len(numbers) < len(values),
        _edges(numbers, bins),
    )


def _edges(numbers: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    """Quantiles of the rows; where many are equal, of the different values beside them, so that tails have bins too."""
    if bins < 1:
        return ()
    share = np.linspace(0, 1, bins + 1)
    edges = np.unique(np.quantile(numbers, share))
    if len(edges) <= bins:
        edges = np.unique(np.concatenate([edges, np.quantile(np.unique(numbers), share)]))
    return tuple(float(edge) for edge in edges) if len(edges) > 1 else ()
