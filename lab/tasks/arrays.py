"""Arrays of inputs from a user's file: npz, or a CSV of numbers."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import TaskError
from lab.tasks.memory import check_fits

if TYPE_CHECKING:
    from lab.tasks.several import Row

_MOST_NAMES = 20


def read_array(path: Path) -> NDArray[Any]:
    """An array of inputs [n, ...] from an npz (array `x`, or its only array) or a CSV of numbers with a header.

    Raises:
        TaskError: missing, of another kind, empty, not numeric, or with missing values.
    """
    if not path.is_file():
        raise TaskError(f"{path}: is not a file")
    if path.suffix not in (".npz", ".csv"):
        raise TaskError(f"{path}: is neither .npz nor .csv")
    array = read_npz(path, "x") if path.suffix == ".npz" else _read_csv(path)
    if array.ndim < 2 or len(array) == 0:
        raise TaskError(f"{path}: inputs of shape {array.shape} are not [n, ...] with n of at least 1")
    return _real(path, array)


def read_arrays(path: Path, row: Row) -> dict[str, NDArray[Any]] | tuple[NDArray[Any], ...]:
    """The arrays of an npz that are several inputs [n, ...], as the model takes them.

    Raises:
        TaskError: missing, of another kind, without one of them, not numeric, or with missing values.
    """
    if not path.is_file():
        raise TaskError(f"{path}: is not a file")
    if path.suffix != ".npz":
        raise TaskError(f"{path}: is not .npz, which holds several inputs")
    arrays = {name: _real(path, read_npz(path, name, alone=False)) for name in row.arrays}
    return arrays if row.names else tuple(arrays.values())


def _real(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """An array of real numbers [n, ...].

    Raises:
        TaskError: it has others, or missing ones.
    """
    if not any(np.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
        raise TaskError(f"{path}: inputs of type {array.dtype} are not real numbers")
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if bad.any():
        raise TaskError(f"{path}: {int(bad.sum())} of {len(array)} rows have missing or infinite values")
    return array


def read_npz(path: Path, name: str, alone: bool = True) -> NDArray[Any]:
    """Array `name` of an npz, or, if `alone`, its only array; never unpickles.

    Raises:
        TaskError: there is none, or the file cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = arrays.files
            if name not in names and not (alone and len(names) == 1):
                raise TaskError(f"{path}: has arrays {names[:_MOST_NAMES]}; one named '{name}' is needed")
            chosen = name if name in names else names[0]
            _check_size(path, arrays.zip, chosen)
            array: NDArray[Any] = arrays[chosen]
            return array
    except TaskError:
        raise
    except Exception as error:  # what a damaged archive makes its readers raise is nowhere written
        raise TaskError(f"{path}: cannot be read ({error})") from error


def _check_size(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    """Refuse an array that is not as long as it says, or longer than the memory, before there is room made for it."""
    entry = f"{name}.npy" if f"{name}.npy" in archive.namelist() else name
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
        held = archive.getinfo(entry).file_size - member.tell()
    said = math.prod(shape) * dtype.itemsize
    if said != held and not dtype.hasobject:  # of objects nothing is read
        raise TaskError(f"{path}: array '{name}' says that it has {said} bytes, and has {held}")
    check_fits(path, said)


def npz_names(path: Path) -> list[str]:
    """What the arrays of an npz are called, once `read_npz` could read it."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return list(arrays.files)


def holds_several(path: Path) -> bool:
    """Whether a file is an npz of several arrays; one that cannot be read is none."""
    try:
        return path.suffix == ".npz" and len(npz_names(path)) > 1
    except Exception:  # as above; whoever reads it says what is wrong
        return False


def _read_csv(path: Path) -> NDArray[Any]:
    try:
        frame = pd.read_csv(path)
    except Exception as error:  # as above
        raise TaskError(f"{path}: cannot be read ({error})") from error
    names = [str(name) for name in frame.columns]
    counted = names == [str(i) for i in range(len(names))]  # how pandas names columns that have no name
    if not counted and all(_is_number(name) for name in names):
        raise TaskError(f"{path}: its first row is numbers; a row of column names is needed")
    if frame.empty:
        raise TaskError(f"{path}: has column names and no rows")
    text = [name for name, dtype in zip(names, frame.dtypes, strict=True) if not pd.api.types.is_numeric_dtype(dtype)]
    if text:
        raise TaskError(f"{path}: column {text[0]!r} is not numeric")
    return frame.to_numpy(copy=True)  # pandas may lend its own, which nobody may write to


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
