"""What only stands beside the models that a study trains: where it cannot be made, it costs itself and nothing else."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lab.tasks.user_code import said_by

DOUBTS_S = 120.0
"""For all doubts about a task's data: nothing trains before they are said."""
_EVERY_S = 10.0
"""Between two signs that something goes on."""
_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")
_Else = TypeVar("_Else")


class Beside:
    """Makes what stands beside, and keeps a line on each thing that could not be made."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is missing, and why, a line each."""
        return tuple(dict.fromkeys(self._lines))

    def made(self, what: str, make: Callable[[], _T], otherwise: _Else) -> _T | _Else:
        """What `make` gives; what stands in its place, where it raises anything."""
        try:
            return make()
        except Exception as error:  # a user's code, or another library's on data that it was not made for
            self._lines.append(f"{what}: left out ({said_by(error)})")
            return otherwise


class _Overtime(BaseException):
    """Ends what takes too long. No `Exception`, so that nobody takes it for a fault of what is made."""


def within(limit_s: float, make: Callable[[], _T], waiting: Callable[[float], None], every_s: float = _EVERY_S) -> _T:
    """What `make` gives, made in a thread of its own, within so many seconds.

    At the limit the thread is told to end, which it does at its next step in Python; nobody waits for that.

    Args:
        waiting: is called with the seconds so far, now and then.

    Raises:
        TimeoutError: it takes longer.
        Exception: whatever `make` raised.
    """
    if limit_s <= 0:
        raise TimeoutError("no time is left")
    made: dict[str, Any] = {}

    def run() -> None:
        try:
            made["value"] = make()
        except BaseException as error:  # raised again by whoever waits
            made["error"] = error

    began = time.monotonic()
    thread = threading.Thread(target=run, daemon=True, name="beside")
    thread.start()
    try:
        while thread.is_alive() and (left_s := began + limit_s - time.monotonic()) > 0:
            thread.join(min(every_s, left_s))
            if thread.is_alive():
                waiting(time.monotonic() - began)
    finally:
        if thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Overtime))
    if "value" in made:
        value: _T = made["value"]
        return value
    if "error" in made and not isinstance(made["error"], _Overtime):
        raise made["error"]
    raise TimeoutError(f"it takes longer than the {limit_s:.3g} s that are left")


def doubts(checks: Mapping[str, Callable[[], Iterable[str]]], limit_s: float = DOUBTS_S) -> tuple[str, ...]:
    """The lines of each check, by what it looks for, one check after the other within so many seconds.

    The last line says what was not looked for.
    """
    until = time.monotonic() + limit_s
    lines: list[str] = []
    missed: list[str] = []
    for what, check in checks.items():

        def waiting(seconds: float, what: str = what) -> None:
            _LOG.info("data      looking for %s since %.0f s", what, seconds)

        try:
            lines += within(until - time.monotonic(), lambda check=check: [*check()], waiting)  # type: ignore[misc]
        except TimeoutError:
            missed.append(what)
    if missed:
        lines.append(f"not looked for, as it takes longer than {limit_s:g} s: {', '.join(missed)}")
    return tuple(lines)
