"""Ctrl-C and SIGTERM: end what runs, save, and go; and not take long about it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from lab.errors import Interrupted
from lab.study.progress import Display

_STOP_WITHIN_S = 10.0


class _Overdue(KeyboardInterrupt):
    """Too long after the user has asked to stop. No `Exception`, so that nobody takes it for a trial's."""


@contextlib.contextmanager
def stop_on_interrupt(display: Display) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends running epochs and saves, within 10 s; the second stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        if display.stop_asked:
            raise KeyboardInterrupt
        display.stop_asked = True
        signal.setitimer(signal.ITIMER_REAL, _STOP_WITHIN_S)
        display.say("stopping after the running epochs; press Ctrl-C again to stop at once")

    def overdue(number: int, frame: object) -> None:
        raise _Overdue

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGALRM: overdue}
    old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    except _Overdue:
        message = f"stopped inside an epoch, which took longer than {_STOP_WITHIN_S:.0f} s; all before it are saved"
        raise Interrupted(message) from None
    except KeyboardInterrupt:  # said here: the command line's own library would end without a word
        raise Interrupted("stopped at once; all epochs before the running ones are saved") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in old.items():
            signal.signal(number, handler)
