"""The values of one column, read as text, numbers or dates. n rows."""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import TaskError

_DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%Y", "%d.%m.%y", "%m-%d-%Y", "%d-%m-%Y")
_WORDS = (
    *("%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%Y-%b-%d", "%d %b %y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%a, %d %b %Y"),
    *("%d %B %Y", "%d. %B %Y", "%B %d, %Y", "%B %d %Y"),
)
_MONTH = r"(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b"
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = ("ISO8601", *(day + time for time in _TIMES for day in (*_DAYS, *_WORDS)))
_ZONE = r"(:\d\d(?:\.\d+)?)\s*(?:Z|[+-]\d\d:?\d\d)$"
"""Behind a time; the first group is the time's end."""
_SAMPLE = 50
PADDED = r"[-+]?0\d"
"""What begins a number that is written with leading zeros, as codes are and amounts are not."""
TRUTH = {**dict.fromkeys(("True", "TRUE", "true"), True), **dict.fromkeys(("False", "FALSE", "false"), False)}
"""How files write that something is so, or not."""


def is_nested(values: pd.Series[Any]) -> bool:
    """Whether values are lists or mappings, as a parquet may hold."""
    return values.dtype == object and bool(
        values.map(lambda value: isinstance(value, (list, tuple, dict, set, np.ndarray))).any()
    )


def is_text(values: pd.Series[Any]) -> bool:
    """Whether a column holds cells as they were written, as all of a CSV do."""
    return isinstance(values.dtype, pd.StringDtype)


def typed(values: pd.Series[Any]) -> pd.Series[Any]:
    """A column of text whose every cell is a number and none a code, as numbers; any other column as it is."""
    if not is_text(values) or values.isna().all():
        return values
    few = values.dropna().head(_SAMPLE)
    if pd.to_numeric(few, errors="coerce").isna().any() or codes(values).any():  # text mostly is from the start
        return values
    numbers = pd.to_numeric(values, errors="coerce")
    if (numbers.isna() & values.notna()).any():
        return values
    return numbers.astype("float64") if numbers.dtype == object else numbers  # whole numbers of more than 64 bits


def codes(values: pd.Series[Any]) -> pd.Series[bool]:
    """Which cells of a column of text are whole numbers with leading zeros, as postal codes are and amounts are not."""
    padded: pd.Series[bool] = values.str.fullmatch(rf"{PADDED}\d*")
    return padded


def typed_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with each column `typed`."""
    return pd.DataFrame({name: typed(frame[name]) for name in frame.columns}, index=frame.index)


def row_number(values: pd.Series[Any] | pd.DataFrame, position: int) -> int:
    """The row of the file that stands at a position, from 1, whichever split it is in."""
    return int(values.index[position]) + 1


def date_format(text: pd.Series[Any], least: float = 1.0) -> str | None:
    """The first format that reads every value, or at least a share `least` of them; None where none does."""
    sample = text.head(_SAMPLE)
    like = sample.str.contains(r"\d[-/.]\d") | (sample.str.contains(_MONTH) & sample.str.contains(r"\d"))
    if like.sum() < least * len(sample):
        return None
    for name in _FORMATS:
        if all(read_dates(part, name).notna().sum() >= least * len(part) for part in (sample, text)):
            return name
    return None


def unreadable_date(text: pd.Series[Any], least: float) -> int | None:
    """The position of the first value that is no date, where no format reads all and one a share `least` of them."""
    name = date_format(text, least)
    return None if name is None else int(read_dates(text, name).isna().to_numpy().argmax())


def other_format(values: pd.Series[Any], name: str | None) -> str | None:
    """The format with month and day exchanged, where it is in use and reads all of these dates too."""
    exchanged = (name or "").replace("%m", "%-").replace("%d", "%m").replace("%-", "%d")
    if exchanged == name or exchanged not in _FORMATS:
        return None
    return exchanged if read_dates(values.dropna(), exchanged).notna().all() else None


def read_dates(values: pd.Series[Any], name: str | None) -> pd.Series[Any]:
    """Dates by a format, as the clock there showed them: a zone would differ within a year. NaT where unreadable."""
    if pd.api.types.is_datetime64_any_dtype(values):
        shown: pd.Series[Any] = values.dt.tz_localize(None)
        return shown
    if values.dtype == object:  # dates of a parquet, alone or beside text
        values = values.map(lambda value: _shown(value, name))
    text = values.astype("string").str.replace(_ZONE, r"\1", regex=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be read is looked at, not warned of
        return pd.to_datetime(text, format=name or "ISO8601", errors="coerce")


def _shown(value: Any, name: str | None) -> Any:
    """A date of a parquet as a file of text would have it; other values as they are."""
    if not isinstance(value, datetime.date) or pd.isna(value):
        return value
    return value.isoformat() if name in (None, "ISO8601") else value.strftime(str(name))


def date_parts(dates: pd.Series[Any]) -> dict[str, pd.Series[Any]]:
    """Year, month, week, day of the week and hour of dates."""
    parts = {"year": dates.dt.year, "month": dates.dt.month, "week": dates.dt.isocalendar().week.astype("float64")}
    return parts | {"day_of_week": dates.dt.day_of_week, "hour": dates.dt.hour}


def infinite(values: pd.Series[Any]) -> int:
    """How many cells of a column of numbers are infinite, or too large for a number of 64 bits."""
    return int(np.isinf(pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)).sum())


def to_numbers(values: pd.Series[Any]) -> NDArray[np.float64]:
    """Numbers [n], NaN where missing or infinite; true is 1 and false 0.

    Raises:
        TaskError: text among them, with its row.
    """
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    unread = np.isnan(numbers) & values.notna().to_numpy()
    if unread.any():
        numbers = numbers.copy()
        numbers[unread] = [TRUTH.get(str(value), np.nan) for value in values[unread]]
    bad = np.flatnonzero(np.isnan(numbers) & values.notna().to_numpy())
    if len(bad):
        row = row_number(values, int(bad[0]))
        raise TaskError(f"column {values.name!r}: row {row} holds {values.iloc[bad[0]]!r}, which is no number")
    return np.where(np.isfinite(numbers), numbers, np.nan)
