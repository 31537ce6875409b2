"""Arrays that are filled once and then only read: in memory, or, where they would take much of it, in a file.

The system maps a file's pages in as they are read, and drops them where the memory is needed for something else. So
data may be larger than the memory, and whoever reads them sees a tensor all the same. Shapes: n rows.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    with _new_file(folder) as file:
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


def content_of(tensor: Tensor) -> memoryview:
    """The bytes of a tensor, in the order of its numbers; not copied where they lie so already."""
    flat = tensor.detach().cpu().contiguous().flatten()
    # One number alone may have a stride of 0 still, which has no view as bytes.
    return (
        (flat if flat.numel() > 1 else flat.clone(memory_format=torch.contiguous_format)).view(torch.uint8).numpy().data
    )


class RowsRead:
    """Rows that come in batches [b, ...] and of which nobody has said how many they are.

    >>> rows = RowsRead()
    >>> rows.add(torch.arange(4).view(2, 2))
    >>> rows.add(torch.arange(2).view(1, 2))
    >>> rows.whole().tolist()
    [[0, 1], [2, 3], [0, 1]]
    """

    def __init__(self) -> None:
        self._batches: list[Tensor] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._most = most_in_memory()
        self._kind: tuple[tuple[int, ...], torch.dtype] | None = None
        self.count = 0

    def add(self, batch: Tensor) -> None:
        """Put rows behind those that are there.

        Raises:
            TaskError: they are of another shape or type.
        """
        kind = tuple(batch.shape[1:]), batch.dtype
        for own, other, things in zip(self._kind or kind, kind, ("shapes", "types"), strict=True):
            if own != other:
                raise TaskError(f"rows have several {things}, {own} and {other} among them; make them alike")
        self._kind = kind
        self.count += len(batch)
        self._bytes += batch.numel() * batch.element_size()
        self._batches.append(batch)
        if self._file is None and self._bytes > self._most:
            self._file = _new_file(None)
        if self._file is not None:
            for waiting in self._batches:
                self._file.write(content_of(waiting))
            self._batches.clear()

    def whole(self) -> Tensor:
        """All rows [n, ...]."""
        if self._file is None:
            return torch.cat(self._batches)
        assert self._kind is not None  # there is a file since rows came
        shape, dtype = self._kind
        self._file.flush()
        content = torch.from_numpy(np.memmap(self._file, dtype=np.uint8, mode="r+"))
        self._file.close()  # the mapping keeps it
        return content.view(dtype).view(self.count, *shape)


def _new_file(folder: Path | None) -> IO[bytes]:
    if folder is None:
        return tempfile.TemporaryFile()
    return tempfile.NamedTemporaryFile(dir=folder, suffix=UNFINISHED, delete=False)


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the disk's blocks now: a mapped file that finds none later ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
