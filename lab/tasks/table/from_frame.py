"""A pandas frame where a table's file is asked for: it is written as a parquet, and read as any other."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import TaskError

if TYPE_CHECKING:
    import pandas as pd


def is_frame(value: object) -> bool:
    """Whether a value is a pandas frame; asks without importing pandas."""
    return any(kind.__name__ == "DataFrame" for kind in type(value).__mro__) and hasattr(value, "to_parquet")


def frame_of(value: Any) -> pd.DataFrame:
    """A value that has to be a frame.

    Raises:
        TaskError: it is none.
    """
    if not is_frame(value):
        raise TaskError(f"a {type(value).__name__} is no table; give a pandas DataFrame, or a file to `read`")
    frame: pd.DataFrame = value
    return frame


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with its columns as text, and its index where that has a name.

    Raises:
        TaskError: it has no rows, a column twice, or one of values that no file of a table holds.
    """
    named = frame.set_axis([str(name) for name in frame.columns], axis=1)
    named.attrs = {}  # which may hold anything
    twice = named.columns[named.columns.duplicated()]
    if len(twice):
        raise TaskError(f"the DataFrame has column {twice[0]!r} twice")
    with_index = named.index.names != [None]
    both = [name for name in named.index.names if str(name) in named.columns]
    if with_index and both:
        raise TaskError(f"the DataFrame has {both[0]!r} as a column and as its index")
    if not len(named):
        raise TaskError("the DataFrame has no rows")
    for name, dtype in named.dtypes.items():
        if hasattr(getattr(dtype, "categories", None), "closed"):  # intervals, as of `pandas.cut`
            named[name] = named[name].cat.rename_categories(str)
    try:
        named.to_parquet(path, index=with_index)
    except Exception as error:  # Arrow raises errors of many kinds on objects of any type
        said = "; ".join(map(str, error.args)).splitlines() or [type(error).__name__]  # Arrow's are tuples of texts
        raise TaskError(f"the DataFrame cannot be kept as a parquet ({said[0]})") from error


def file_for(owner: object, name: str, frame: pd.DataFrame) -> Path:
    """A file of a frame that is there for as long as `owner` is."""
    folder, process = tempfile.mkdtemp(prefix="lab-"), os.getpid()

    def remove() -> None:
        if os.getpid() == process:  # a fork has no say in it
            shutil.rmtree(folder, ignore_errors=True)

    weakref.finalize(owner, remove)
    path = Path(folder) / f"{name}.parquet"
    write_frame(frame, path)
    return path


@contextlib.contextmanager
def as_file(frame: Any) -> Iterator[Path]:
    """A file of a frame for as long as it is read; what is wrong with it is said of the frame."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        path = Path(folder) / "frame.parquet"
        write_frame(frame, path)
        try:
            yield path
        except TaskError as error:
            raise TaskError(str(error).replace(str(path), "the DataFrame")) from error
