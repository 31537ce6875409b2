"""Reading a table from CSV or parquet, without guessing more than its file says."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from lab.errors import SpecError, TaskError, nearest
from lab.tasks.table.values import is_nested

MISSING = ("?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A")
"""What stands for no value in a CSV, unless its user says otherwise; an empty cell always does."""


def read_frame(
    path: Path, missing: Sequence[str] = MISSING, levels: Mapping[str, Collection[str]] = MappingProxyType({})
) -> pd.DataFrame:
    """A table; columns of text stay text, and the words of `missing` are missing values, but for a column's `levels`.

    Raises:
        TaskError: missing, of another kind, unreadable, without rows, or with a column name twice.
    """
    if not path.exists():
        raise TaskError(f"{path}: does not exist")
    if path.is_dir():
        raise TaskError(f"{path}: is a folder; a table is one .csv or .parquet file")
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise TaskError(f"{path}: is neither .csv, .tsv nor .parquet")
    try:
        if _is_parquet(path):
            frame = pd.read_parquet(path)
        else:
            separator = _separator(path)
            header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, skipinitialspace=True)
            _check_separator(path, header.iloc[0], separator)
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
                frame = pd.read_csv(
                    path,
                    sep=separator,
                    na_values=_missing_of(header.iloc[0], missing, levels),
                    keep_default_na=False,
                    skipinitialspace=True,
                    low_memory=False,
                    index_col=False,
                )
    except pd.errors.ParserWarning:
        raise TaskError(f"{path}: its rows have more values than its first row has names") from None
    except UnicodeDecodeError:
        raise TaskError(f"{path}: is not UTF-8{_first_foreign_line(path)}; save it as UTF-8") from None
    except (ValueError, OSError) as error:
        raise TaskError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if not _is_parquet(path):
        _check_header(path, header.iloc[0].dropna())
    frame = frame.reset_index(drop=frame.index.names == [None])  # a parquet may keep a column there
    frame.columns = [str(name) for name in frame.columns]
    twice = [name for name, count in frame.columns.value_counts().items() if count > 1]
    if twice:
        raise TaskError(f"{path}: has column {twice[0]!r} twice")
    if len(frame) == 0:
        raise TaskError(f"{path}: has no rows")
    return frame


def words_for_missing(path: Path, names: Iterable[str], missing: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often each word of `missing` stands in some columns of a CSV; a parquet has values of its own for that."""
    columns = list(names)
    if _is_parquet(path) or not columns:
        return {}
    text = pd.read_csv(
        path, sep=_separator(path), usecols=columns, dtype=str, na_filter=False, skipinitialspace=True, index_col=False
    )
    counts = {name: text[name][text[name].isin(list(missing))].value_counts() for name in columns}
    return {name: {str(word): int(n) for word, n in found.items()} for name, found in counts.items() if len(found)}


def words_among(values: pd.Series[Any], missing: Sequence[str]) -> set[str]:
    """The words of `missing` that are values of a column all the same."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values) or is_nested(values):
        return set()
    return {word for word in missing if values.isin([word]).any()}


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _missing_of(
    header: pd.Series[str], missing: Sequence[str], levels: Mapping[str, Collection[str]]
) -> Sequence[str] | Mapping[str, Sequence[str]]:
    """Words for each column by its name, where some have words among their levels."""
    if not any(levels.values()):
        return ["", *missing]
    return {str(name): ["", *(w for w in missing if w not in levels.get(str(name), ()))] for name in header}


def _first_foreign_line(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f" in line {number}"
    return ""


def _check_separator(path: Path, header: pd.Series[str], separator: str) -> None:
    others = [mark for mark in (";", "\t", "|", ",") if mark != separator and mark in str(header.iloc[0])]
    if len(header) == 1 and others:
        raise TaskError(f"{path}: its columns are separated by {others[0]!r}; a .csv needs commas, a .tsv tabs")


def _check_header(path: Path, header: pd.Series[str]) -> None:
    """Refuse names twice, which pandas would make something else of."""
    twice = header[header.duplicated()]
    if len(twice):
        raise TaskError(f"{path}: has column {twice.iloc[0]!r} twice")


def need_columns(frame: pd.DataFrame, names: Iterable[str], place: str) -> None:
    """Refuse names of columns that are not there.

    Raises:
        SpecError: with the nearest name.
    """
    for name in names:
        if name not in frame.columns:
            some = ", ".join(list(frame.columns)[:12]) + (", ..." if frame.shape[1] > 12 else "")
            raise SpecError(place, f"there is no column {name!r}{nearest(name, frame.columns)}; columns: {some}")
