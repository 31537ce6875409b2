"""A limit on what a user's code prints: a trial that prints without end must not fill a disk."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

LIMIT_BYTES = 2**20


class _Bounded(io.TextIOBase):
    """Passes text on until a limit, says so once, and drops the rest."""

    def __init__(self, out: TextIO, budget: OutputBudget) -> None:
        self._out = out
        self._budget = budget

    # The real standard output answers whatever else a program may ask of it.

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._out.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._out.errors

    @property
    def buffer(self) -> BinaryIO:
        return self._out.buffer

    def reconfigure(self, **options: Any) -> None:
        self._out.reconfigure(**options)  # type: ignore[attr-defined]

    def fileno(self) -> int:
        return self._out.fileno()

    def isatty(self) -> bool:
        return self._out.isatty()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        allowed = self._budget.take(len(text))
        if allowed:
            self._out.write(text[:allowed])
        if allowed < len(text) and not self._budget.announced:
            self._budget.announced = True
            self._out.write(f"\nlab: what this lane's trials print above {self._budget.limit_bytes} bytes is dropped\n")
        return len(text)

    def flush(self) -> None:
        self._out.flush()


class OutputBudget:
    """The number of characters that the code of a lane's trials may print while the lane lives."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.announced = False
        self._left = limit_bytes

    def take(self, count: int) -> int:
        """Use up to `count` characters of the budget. Returns how many of them may be printed."""
        allowed = min(count, self._left)
        self._left -= allowed
        return allowed

    @contextlib.contextmanager
    def bounded(self) -> Iterator[None]:
        """Bound what is printed inside the block. Output that C code writes past Python is not seen."""
        with (
            contextlib.redirect_stdout(_Bounded(sys.stdout, self)),
            contextlib.redirect_stderr(_Bounded(sys.stderr, self)),
        ):
            yield
