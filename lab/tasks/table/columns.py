"""What a column is, learned from the training rows: a number, a category or a date; and rows as arrays by it.

Shapes: n rows, q bins of a number. Everything learned is plain values, so that JSON can hold it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import TaskError

Type: TypeAlias = Literal["number", "category", "date"]
TYPES = get_args(Type)

MAX_LEVELS = 24
"""Whole numbers of at most as many different values are categories: hours, months, grades."""
_MOSTLY = 0.9
_LARGEST = 1e30
"""Of a number: its square is a number of 64 bits still, itself one of 32."""
_FAR = 1e4
"""Standard deviations from the mean, and no further: what no training row is, whatever a later row holds."""
_FORMATS = (
    "ISO8601", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%Y", "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M",
)  # fmt: skip
_ZONE = r"(:\d\d(?:\.\d+)?)\s*(?:Z|[+-]\d\d:?\d\d)$"
"""Behind a time; the first group is the time's end."""
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


@dataclass(frozen=True)
class Category:
    """A column of categories; code 0 is for what is missing or was not seen in training."""

    name: str
    levels: tuple[str, ...]
    type: Type = "category"


@dataclass(frozen=True)
class Date:
    """A column of dates, taken apart into `parts`, each a column of its own."""

    name: str
    format: str | None
    """None: the file has dates, not text."""
    parts: tuple[Number | Category, ...]
    type: Type = "date"


Column: TypeAlias = Number | Category | Date


@dataclass
class Notes:
    """What was done about what did not fit, collected while a table is encoded."""

    lines: list[str] = field(default_factory=list)


def dump_column(column: Column) -> dict[str, Any]:
    """A column as JSON can hold it."""
    return asdict(column)


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
    known = values.dropna()
    if len(known) == 0:
        return "is empty"
    if is_nested(known):
        return "holds lists or mappings"
    different = known.nunique()
    if different == 1 and not values.isna().any():
        return "has one value only"
    if pd.api.types.is_bool_dtype(known):
        return "category"
    if pd.api.types.is_datetime64_any_dtype(known):
        return "date"
    if pd.api.types.is_numeric_dtype(known):
        whole = bool((known == known.round()).all())
        if whole and different == len(values) and bool(known.is_monotonic_increasing) and len(values) > MAX_LEVELS:
            return "numbers the rows"
        return "category" if whole and different <= MAX_LEVELS else "number"
    text = known.astype(str)
    numeric = pd.to_numeric(text, errors="coerce").astype("float64")
    if numeric.notna().all():  # numbers written as text, or too large for a number of the file's own kind
        return infer_type(numeric.reindex(values.index))
    if numeric.notna().mean() >= _MOSTLY:
        bad = text[numeric.isna()]
        raise TaskError(
            f"column {values.name!r}: row {row_number(bad, 0)} holds {bad.iloc[0]!r}, and "
            f"{numeric.notna().mean():.0%} of its values are numbers; mend it, or say "
            f"types: {{{values.name}: category}}"
        )
    if date_format(text) is not None:
        return "date"
    if different > max(MAX_LEVELS, len(known) // 2):
        return f"has {different} different texts in {len(known)} rows"
    return "category"


def is_nested(known: pd.Series[Any]) -> bool:
    """Whether values are lists or mappings, as a parquet may hold."""
    return known.dtype == object and bool(
        known.map(lambda value: isinstance(value, (list, tuple, dict, set, np.ndarray))).any()
    )


def row_number(values: pd.Series[Any], position: int) -> int:
    """The row of the file that the value at a position stands in, from 1, whichever split it is in."""
    return int(values.index[position]) + 1


def date_format(text: pd.Series[Any]) -> str | None:
    """The first format that reads every value; None where none does."""
    sample = text.head(50)
    if not bool(sample.str.contains(r"\d[-/.]\d").all()):
        return None
    for name in _FORMATS:
        if read_dates(sample, name).notna().all() and read_dates(text, name).notna().all():
            return name
    return None


def read_dates(values: pd.Series[Any], name: str | None) -> pd.Series[Any]:
    """Dates by a format, as the clock there showed them: a zone would differ within a year. NaT where unreadable."""
    if pd.api.types.is_datetime64_any_dtype(values):
        shown: pd.Series[Any] = values.dt.tz_localize(None)
        return shown
    text = values.astype("string").str.replace(_ZONE, r"\1", regex=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be read is looked at, not warned of
        return pd.to_datetime(text, format=name or "ISO8601", errors="coerce")


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
            return Category(name, tuple(sorted(set(as_text(values.dropna())), key=_natural)))
        case "date":
            known = values.dropna()
            native = pd.api.types.is_datetime64_any_dtype(known)
            found = None if native else date_format(known.astype(str))
            if not native and found is None:
                raise TaskError(f"column {name!r}: its values are not dates that one format reads ({known.iloc[0]})")
            parts = _date_parts(read_dates(values, found))
            useful = [(part, type_) for part, type_ in _PARTS if parts[part].nunique() > 1]
            learned = [fit_column(parts[part].rename(f"{name}.{part}"), type_, bins) for part, type_ in useful]
            return Date(name, found, tuple(p for p in learned if not isinstance(p, Date)))


def _date_parts(dates: pd.Series[Any]) -> dict[str, pd.Series[Any]]:
    found = {"year": dates.dt.year, "month": dates.dt.month, "week": dates.dt.isocalendar().week.astype("float64")}
    return found | {"day_of_week": dates.dt.day_of_week, "hour": dates.dt.hour}


def _fit_number(name: str, values: NDArray[np.float64], bins: int) -> Number:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        raise TaskError(f"column {name!r}: has no numbers in the training rows")
    largest = float(np.abs(known).max())
    if largest > _LARGEST:
        raise TaskError(f"column {name!r}: holds {largest:.3g}; at most {_LARGEST:g} can be learned from")
    std = float(known.std())
    return Number(
        name,
        float(known.mean()),
        std if std > 0 else 1.0,
        float(np.median(known)),
        len(known) < len(values),
        _edges(known, bins),
    )


def _edges(known: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    """Quantiles of the rows; where many are equal, of the different values beside them, so that tails have bins too."""
    if bins < 1:
        return ()
    share = np.linspace(0, 1, bins + 1)
    edges = np.unique(np.quantile(known, share))
    if len(edges) <= bins:
        edges = np.unique(np.concatenate([edges, np.quantile(np.unique(known), share)]))
    return tuple(float(edge) for edge in edges) if len(edges) > 1 else ()


def to_numbers(values: pd.Series[Any]) -> NDArray[np.float64]:
    """Numbers [n], NaN where missing or infinite.

    Raises:
        TaskError: text among them, with its row.
    """
    found = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isnan(found) & values.notna().to_numpy())
    if len(bad):
        row = row_number(values, int(bad[0]))
        raise TaskError(f"column {values.name!r}: row {row} holds {values.iloc[bad[0]]!r}, which is no number")
    return np.where(np.isfinite(found), found, np.nan)


def to_codes(column: Category, values: pd.Series[Any], notes: Notes) -> NDArray[np.int64]:
    """Codes [n]: 1 + the level's number; 0 where missing or not seen in training."""
    number = {level: code for code, level in enumerate(column.levels, start=1)}
    text = as_text(values)
    codes = np.array([number.get(value, 0) for value in text], dtype=np.int64)
    unseen = (codes == 0) & values.notna().to_numpy()
    if unseen.any():
        example = text[int(np.flatnonzero(unseen)[0])]
        notes.lines.append(
            f"column {column.name!r}: {int(unseen.sum())} rows hold values not seen in training (such as "
            f"{example!r}); they are treated as unknown"
        )
    return codes


def as_text(values: pd.Series[Any]) -> list[str]:
    """Values as the texts that levels are: 3 and 3.0 are one level, and so are True with and without gaps around."""
    return [_level(value) if pd.notna(value) else "" for value in values]


def _level(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value).strip()


def _natural(level: str) -> tuple[int, float, str]:
    """Levels that are numbers in their order, then texts."""
    try:
        return (0, float(level), level)
    except ValueError:
        return (1, 0.0, level)


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
                told = f"dates that cannot be read as {column.format or 'ISO8601'}"
                notes.lines.append(f"column {column.name!r}: {lost} rows hold {told}; they are treated as missing")
            found = _date_parts(dates)
            parts = [(part, found[part.name.rpartition(".")[2]].rename(part.name)) for part in column.parts]
        else:
            parts = [(column, values)]
        for part, series in parts:
            if isinstance(part, Category):
                codes.append(to_codes(part, series, notes))
            else:
                numbers.append(to_numbers(series))
    n = len(frame)
    return Encoded(
        np.stack(codes, axis=1) if codes else np.zeros((n, 0), dtype=np.int64),
        np.stack(numbers, axis=1) if numbers else np.zeros((n, 0)),
    )


def inputs(columns: tuple[Column, ...], encoded: Encoded) -> NDArray[np.float32]:
    """What the net takes, float32 [n, f]: codes, standardised numbers, indicators of missing ones, bins."""
    plain, indicators, bins = [], [], []
    for number, values in zip(numbers_of(columns), encoded.numbers.T, strict=True):
        filled = np.where(np.isnan(values), number.median, values)
        with np.errstate(over="ignore"):
            plain.append(np.clip((filled - number.mean) / number.std, -_FAR, _FAR))
        if number.missing:
            indicators.append(np.isnan(values).astype(np.float64))
        if len(number.edges) > 2:  # a single bin would say what the number itself says
            bins += list(_piecewise(filled, np.array(number.edges)).T)
    parts = [*encoded.codes.T.astype(np.float64), *plain, *indicators, *bins]
    return np.stack(parts, axis=1).astype(np.float32)


def _piecewise(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, q]: how far each bin is filled, 0 to 1; the outer ones go beyond, as in the paper."""
    with np.errstate(over="ignore"):  # as below
        found = (values[:, None] - edges[:-1]) / np.diff(edges)
    low = np.full(len(edges) - 1, 0.0)
    high = np.full(len(edges) - 1, 1.0)
    low[0], high[-1] = -1.0, 2.0  # bounded all the same: a freak value must not drown the others
    clipped: NDArray[np.float64] = np.clip(found, low, high)
    return clipped
