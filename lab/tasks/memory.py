"""Whether data fit into memory, asked before they are read, as a file of kilobytes can say that it holds terabytes; and
what keeps them from being there twice."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import TaskError

_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_fits(what: object, needed_bytes: int, advice: str = "") -> None:
    """Refuse data that this machine, or the container that this process is in, has no room for.

    Args:
        what: a path, or what the data are called.
        advice: what to do about it.

    Raises:
        TaskError: with both sizes.
    """
    room = room_bytes()
    if room is not None and needed_bytes > room:
        raise TaskError(
            f"{what}: needs {shown(needed_bytes)} of memory once it is read, and there are {shown(room)}"
            + (f"; {advice}" if advice else "")
        )


def room_bytes() -> int | None:
    """Memory of this machine, or of its container if that is less; None where the system does not say."""
    limits = []
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        return None
    for name in _GROUP_LIMITS:
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return min(limits)


def shown(size: int) -> str:
    """Bytes of memory as text."""
    return f"{size / 2**30:.3g} GiB"


def give_back() -> None:
    """Hand back to the system what was freed in small pieces, as the parts of a file that was read are."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)


def reorder(values: NDArray[Any], order: NDArray[np.int64]) -> None:
    """Bring rows of values [n, ...] to the front in an order of theirs, in place; those of none come behind."""
    order = np.concatenate([order, np.setdiff1d(np.arange(len(values)), order)])
    done = np.zeros(len(order), dtype=bool)
    for start in range(len(order)):
        if done[start]:
            continue
        first, position = values[start].copy(), start
        while (source := int(order[position])) != start:
            values[position] = values[source]
            done[position], position = True, source
        values[position], done[position] = first, True
