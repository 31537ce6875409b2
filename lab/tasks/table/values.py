"""The values of one column, read as text, numbers or dates. n rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import TaskError

_DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%Y", "%d.%m.%y", "%m-%d-%Y", "%d-%m-%Y")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = ("ISO8601", *(day + time for time in _TIMES for day in _DAYS))
_ZONE = r"(:\d\d(?:\.\d+)?)\s*(?:Z|[+-]\d\d:?\d\d)$"
"""Behind a time; the first group is the time's end."""


def is_nested(known: pd.Series[Any]) -> bool:
    """Whether values are lists or mappings, as a parquet may hold."""
    return known.dtype == object and bool(
        known.map(lambda value: isinstance(value, (list, tuple, dict, set, np.ndarray))).any()
    )


def row_number(values: pd.Series[Any] | pd.DataFrame, position: int) -> int:
    """The row of the file that stands at a position, from 1, whichever split it is in."""
    return int(values.index[position]) + 1


def date_format(text: pd.Series[Any], least: float = 1.0) -> str | None:
    """The first format that reads every value, or at least a share `least` of them; None where none does."""
    sample = text.head(50)
    if sample.str.contains(r"\d[-/.]\d").sum() < least * len(sample):
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
    """Of dates read by a format, the one with month and day exchanged, where it is in use and reads all of them too."""
    exchanged = (name or "").replace("%m", "%-").replace("%d", "%m").replace("%-", "%d")
    if exchanged == name or exchanged not in _FORMATS:
        return None
    return exchanged if read_dates(values.dropna(), exchanged).notna().all() else None


def read_dates(values: pd.Series[Any], name: str | None) -> pd.Series[Any]:
    """Dates by a format, as the clock there showed them: a zone would differ within a year. NaT where unreadable."""
    if pd.api.types.is_datetime64_any_dtype(values):
        shown: pd.Series[Any] = values.dt.tz_localize(None)
        return shown
    text = values.astype("string").str.replace(_ZONE, r"\1", regex=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be read is looked at, not warned of
        return pd.to_datetime(text, format=name or "ISO8601", errors="coerce")


def date_parts(dates: pd.Series[Any]) -> dict[str, pd.Series[Any]]:
    """Year, month, week, day of the week and hour of dates."""
    found = {"year": dates.dt.year, "month": dates.dt.month, "week": dates.dt.isocalendar().week.astype("float64")}
    return found | {"day_of_week": dates.dt.day_of_week, "hour": dates.dt.hour}


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


def as_text(values: pd.Series[Any]) -> list[str]:
    """Values as the texts that levels are: 3 and 3.0 are one level, and so are True and the text that it becomes where
    a column holds another text as well."""
    if values.dtype == object:  # values of several types may be equal, as 1 and True are
        return [_level(value) if pd.notna(value) else "" for value in values]
    places, found = pd.factorize(values)  # -1, the last, where missing
    texts: list[str] = np.array([*map(_level, found), ""], dtype=object)[places].tolist()
    return texts


def _level(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    text = str(value).strip()
    return text.lower() if text in ("True", "False") else text


def natural(level: str) -> tuple[int, float, str]:
    """Levels that are numbers in their order, then texts."""
    try:
        return (0, float(level), level)
    except ValueError:
        return (1, 0.0, level)
