"""Ctrl-C once and twice, as signals to this very process."""

from __future__ import annotations

import signal

import pytest

from lab.errors import Interrupted
from lab.study.progress import Display
from lab.study.stop import stop_on_interrupt


def _send(number: signal.Signals, times: int) -> bool:
    """Whether a stop was asked for, if the signals did not end it."""
    with Display(True) as display, stop_on_interrupt(display):
        for _ in range(times):
            signal.raise_signal(number)
    return display.stop_asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends_with_a_line(number: signal.Signals):
    before = signal.getsignal(number)
    assert not _send(number, 0)
    assert _send(number, 1)
    with pytest.raises(Interrupted, match="stopped at once; all epochs before the running ones are saved"):
        _send(number, 2)
    assert signal.getsignal(number) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
