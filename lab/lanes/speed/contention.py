"""Whether other processes took cores from this one while something was timed."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_THREADS = Path("/proc/self/task")
_WAITED_NS = 1
"""Which number of a thread's `schedstat` it is for how long the thread was ready to run and had no core."""
_MOST = 0.05
"""Fraction of the time, for which threads of a quiet machine may have waited for a core."""


class Contention:
    """Watches from its making on.

    Linux counts how long each thread has waited for a core, so that what happened a minute ago is no matter. Elsewhere
    the load average has to do, which a program that has just ended keeps high.

    >>> Contention().is_quiet() in (True, False)
    True
    """

    def __init__(self) -> None:
        self._began_s, self._waited_s = time.perf_counter(), waited_s()

    def is_quiet(self) -> bool:
        """Whether this process has had the cores that it asked for."""
        waited = waited_s()
        if waited:
            more_s = sum(seconds - self._waited_s.get(thread, 0.0) for thread, seconds in waited.items())
            return more_s <= _MOST * (time.perf_counter() - self._began_s)
        try:
            return os.getloadavg()[0] <= (os.cpu_count() or 1)
        except OSError:  # the system does not say
            return True


def waited_s() -> dict[str, float]:
    """Seconds for which each thread of this process was ready to run and had no core; none where nobody counts."""
    waited: dict[str, float] = {}
    for file in _THREADS.glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError, ValueError):  # a thread that has just ended, or another format
            waited[file.parent.name] = int(file.read_text().split()[_WAITED_NS]) / 1e9
    return waited
