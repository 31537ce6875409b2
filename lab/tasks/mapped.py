"""Arrays that are filled once and then only read: in memory, or, where they would take much of it, in a file.

The system maps a file's pages in as they are read, and drops them where the memory is needed for something else. So
data may be larger than the memory, and whoever reads them sees an array all the same. Needs no torch.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import TaskError
from lab.tasks.keeping import UNFINISHED
from lab.tasks.memory import room_bytes, shown

_MOST = 0.25
"""Share of the memory that one array may take: a study has two splits to train on, models, and maybe more lanes."""


def most_in_memory() -> float:
    """The bytes from which on an array lies in a file."""
    room = room_bytes()
    return math.inf if room is None else _MOST * room


def make_room(what: str, shape: tuple[int, ...], folder: Path | None, advice: str = "") -> NDArray[np.uint8]:
    """Bytes of a shape, to be filled; a `numpy.memmap` where they lie in a file.

    Args:
        what: what the data are called.
        folder: where a file goes, which the caller keeps or deletes; None: one without a name, gone when it is closed.
        advice: what to do where there is no room.

    Raises:
        TaskError: they fit neither into the memory nor on the disk; with all sizes.
    """
    needed, memory = math.prod(shape), room_bytes()
    if needed <= most_in_memory():
        return np.empty(shape, dtype=np.uint8)
    at = folder or Path(tempfile.gettempdir())
    at.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(at).free
    if needed > free:
        if memory is None or needed <= memory:
            return np.empty(shape, dtype=np.uint8)
        raise TaskError(
            f"{what}: needs {shown(needed)} once it is read, and there are {shown(memory)} of memory and {shown(free)} "
            f"of disk at {at}" + (f"; {advice}" if advice else "")
        )
    with new_file(folder, named=folder is not None) as file:
        _reserve(file, needed)
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)


def opened(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The bytes that a file holds; what is written to them stays in memory.

    Raises:
        OSError, ValueError: it is not there, or shorter.
    """
    return np.memmap(path, dtype=np.uint8, mode="c", shape=shape)


def file_of(values: NDArray[Any]) -> Path | None:
    """The file of an array that `make_room` gave, where it has one with a name."""
    name = values.filename if isinstance(values, np.memmap) else None
    return None if name is None else Path(name)


def new_file(folder: Path | None, named: bool) -> IO[bytes]:
    """A file to be mapped, for its caller to close; one without a name is gone when nobody maps it any more.

    Args:
        folder: on whose disk it lies; None: that of temporary files, which may be memory itself.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if named:
        return tempfile.NamedTemporaryFile(dir=folder, suffix=UNFINISHED, delete=False)
    return tempfile.TemporaryFile(dir=folder)


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the disk's blocks now: a mapped file that finds none later ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
