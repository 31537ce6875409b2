"""Reading a table from CSV or parquet, without guessing more than its file says."""

from __future__ import annotations

import codecs
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lab.errors import SpecError, TaskError, nearest
from lab.tasks.memory import check_fits, give_back
from lab.tasks.table.dialect import Dialect
from lab.tasks.table.held import Growing, Held, Table, held
from lab.tasks.table.levels import as_number
from lab.tasks.table.values import PADDED, is_nested, is_text

_CELLS, _LEAST_ROWS = 2**20, 2**10
"""Cells of a text file that are read at a time, and rows of a very wide one."""
_SAMPLE_BYTES = 2**20
_CELL_BYTES = 16
"""What a cell takes beside its text while a table is looked at, as it is held and as the net is given it: measured on a
million rows of numbers, categories and dates."""


def read_frame(
    path: Path, dialect: Dialect | None = None, levels: Mapping[str, Collection[str]] | None = None
) -> pd.DataFrame:
    """As `read_table`, all at once."""
    return read_table(path, dialect, levels).frame()


def read_table(path: Path, dialect: Dialect | None = None, levels: Mapping[str, Collection[str]] | None = None) -> Held:
    """A table; of a CSV each cell is the text that stands in it, so that what it is depends on no other row.

    Words of the dialect's `missing` are missing values, but for a column's `levels`; in a parquet, which has values of
    its own for that, only once `levels` say what is none of them.

    Raises:
        TaskError: missing, of another kind, unreadable, without rows, or with a column name twice.
    """
    dialect, levels_of = dialect or Dialect(), levels or {}
    if not path.exists():
        raise TaskError(f"{path}: does not exist")
    if path.is_dir():
        raise TaskError(f"{path}: is a folder; a table is one .csv or .parquet file")
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise TaskError(f"{path}: is neither .csv, .tsv nor .parquet")

    def cleared(name: str, values: pd.Series[Any], text: bool) -> pd.Series[Any]:
        return _cleared(values, dialect.missing, levels_of.get(name, ()), text)

    try:
        if _is_parquet(path):
            frame = _read_parquet(path)
        else:
            header = pd.read_csv(
                path,
                sep=dialect.separator_of(path),
                encoding=dialect.encoding,
                header=None,
                nrows=1,
                dtype=str,
                skipinitialspace=True,
            )
            _check_separator(path, header.iloc[0], dialect)
            table = _held_text(path, dialect, partial(cleared, text=True))
    except pd.errors.ParserWarning:
        raise TaskError(f"{path}: its rows have more values than its first row has names") from None
    except UnicodeDecodeError:
        raise TaskError(f"{path}: {_foreign(path, dialect.encoding)}") from None
    except TaskError:
        raise
    except Exception as error:  # a damaged file makes pandas and Arrow raise errors of many kinds
        raise TaskError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if _is_parquet(path):
        frame = frame.reset_index(drop=frame.index.names == [None])  # a parquet may keep a column there
        frame.columns = [str(name) for name in frame.columns]
        twice = [name for name, count in frame.columns.value_counts().items() if count > 1]
        if twice:
            raise TaskError(f"{path}: has column {twice[0]!r} twice")
        # Each column is let go of once it is held.
        table = held((name, cleared(name, frame.pop(name), levels is not None)) for name in list(frame.columns))
    else:
        _check_header(path, header.iloc[0].dropna())
    if len(table) == 0:
        raise TaskError(f"{path}: has no rows")
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    """Whole numbers stay whole beside a gap, which pandas would make floats of 53 bits for."""
    said = pq.read_metadata(path)
    _check_cells(path, said.num_rows * max(said.num_columns, 1))
    frame = pd.read_parquet(path)
    whole = {field.name for field in pq.read_schema(path) if pa.types.is_integer(field.type)}
    gaps = [str(name) for name in frame.columns if name in whole and pd.api.types.is_float_dtype(frame[name])]
    for name, values in zip(gaps, pq.read_table(path, columns=gaps).columns if gaps else (), strict=True):
        frame[name] = pd.arrays.IntegerArray(values.fill_null(0).to_numpy(), values.is_null().to_numpy())
    return frame


def _held_text(path: Path, dialect: Dialect, cleared: Callable[[str, pd.Series[Any]], pd.Series[Any]]) -> Held:
    """The cells of a CSV, read part by part."""
    _check_cells(path, _cells_of(path, dialect.separator_of(path)), path.stat().st_size)
    growing: dict[str, Growing] = {}
    for part in _text_parts(path, dialect):
        for name in part.columns:
            growing.setdefault(str(name), Growing()).add(cleared(str(name), part[name]))
    columns = {name: column.done() for name, column in growing.items()}
    mixed = [name for name, column in columns.items() if column is None]
    if mixed:
        again = {name: Growing(numbers=False) for name in mixed}
        for part in _text_parts(path, dialect, mixed):
            for name in mixed:
                again[name].add(cleared(name, part[name]))
        columns |= {name: column.done() for name, column in again.items()}
    del growing
    pa.default_memory_pool().release_unused()
    give_back()
    return Held(columns)


def _check_cells(path: Path, cells: int, text_bytes: int = 0) -> None:
    check_fits(path, cells * _CELL_BYTES + text_bytes, "take a part of its rows, or fewer columns")


def _cells_of(path: Path, separator: str) -> int:
    """About how many cells a text file has, by its first lines; in any encoding, as only their shares count."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    cells = sample.count(b"\n") + sample.count(separator.encode())
    return cells * path.stat().st_size // max(len(sample), 1)


def _text_parts(path: Path, dialect: Dialect, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
    """The cells of a CSV as they are written, without the spaces around them; an empty one is an empty text."""
    options: Any = {
        "sep": dialect.separator_of(path),
        "encoding": dialect.encoding,
        "usecols": columns,
        "dtype": str,
        "na_filter": False,
        "skipinitialspace": True,
        "index_col": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        wide = len(pd.read_csv(path, nrows=0, **options).columns)
        with pd.read_csv(path, chunksize=max(_CELLS // max(wide, 1), _LEAST_ROWS), **options) as parts:
            for part in parts:
                yield pd.DataFrame({name: dialect.plain_numbers(part[name].str.strip()) for name in part.columns})


def _cleared(values: pd.Series[Any], missing: Sequence[str], levels: Collection[str], text: bool) -> pd.Series[Any]:
    """A column without the words that stand for no value; numbers among those are meant however they are written.

    Args:
        text: whether words count in a column of text, as numbers do in any.
    """
    words = {*missing} - set(levels)
    numbers = [number for word in words if (number := as_number(word)) is not None]
    if is_text(values):
        absent = values.isin({"", *words}) if text else pd.Series(False, index=values.index)
        if numbers:
            absent |= pd.to_numeric(values, errors="coerce").isin(numbers) & ~values.str.match(PADDED).fillna(False)
        return values.mask(absent)
    if not numbers or not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values
    return values.mask(values.isin(numbers))


def words_for_missing(path: Path, names: Iterable[str], dialect: Dialect) -> dict[str, dict[str, int]]:
    """How often each word for no value stands in some columns of a CSV; a parquet has values of its own for that."""
    columns = list(names)
    if _is_parquet(path) or not columns:
        return {}
    counts = {name: Counter[str]() for name in columns}
    for part in _text_parts(path, dialect, columns):
        for name in columns:
            counts[name].update(map(str, part[name][part[name].isin(list(dialect.missing))]))
    return {name: dict(occurring.most_common()) for name, occurring in counts.items() if occurring}


def words_among(values: pd.Series[Any], missing: Sequence[str]) -> set[str]:
    """The words of `missing` that are values of a column all the same."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values) or is_nested(values):
        return set()
    return {word for word in missing if values.isin([word]).any()}


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _foreign(path: Path, encoding: str) -> str:
    """What is wrong with a file that is not in its encoding, and what it may be in."""
    content = path.read_bytes()
    try:
        content.decode(encoding)
        line = ""
    except UnicodeDecodeError as error:
        before = content[: error.start].count(b"\n")
        line = f" in line {before + 1}"
    if encoding != "utf-8":
        return f"is not {encoding}{line}; say another task.encoding"
    other = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
    return f"is not UTF-8{line}; save it as UTF-8, or say what it is: task.encoding, such as {other}"


def _check_separator(path: Path, header: pd.Series[str], dialect: Dialect) -> None:
    separator = dialect.separator_of(path)
    others = [mark for mark in (";", "\t", "|", ",") if mark != separator and mark in str(header.iloc[0])]
    if len(header) == 1 and others:
        needs = f"task.separator is {separator!r}" if dialect.separator else "a .csv needs commas, a .tsv tabs"
        raise TaskError(
            f"{path}: its columns are separated by {others[0]!r}; {needs}, or say task.separator: {others[0]!r}"
        )


def _check_header(path: Path, header: pd.Series[str]) -> None:
    """Refuse names twice, which pandas would make something else of."""
    twice = header[header.duplicated()]
    if len(twice):
        raise TaskError(f"{path}: has column {twice.iloc[0]!r} twice")


def need_columns(frame: Table, names: Iterable[str], option: str) -> None:
    """Refuse names of columns that are not there.

    Raises:
        SpecError: with the nearest name.
    """
    for name in names:
        if name not in frame.columns:
            columns = list(frame.columns)
            some = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
            raise SpecError(option, f"there is no column {name!r}{nearest(name, columns)}; columns: {some}")
