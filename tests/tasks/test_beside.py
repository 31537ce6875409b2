"""What stands beside costs itself alone."""

from __future__ import annotations

import pytest

from lab.errors import TaskError
from lab.tasks.beside import Beside


def test_what_cannot_be_made_is_told_once_and_done_without():
    beside = Beside()
    assert beside.made("one", lambda: 1, None) == 1
    assert beside.lacks == ()

    def broken() -> int:
        raise TaskError("by\nmine")

    assert [beside.made("two", broken, 0), beside.made("two", broken, 0), beside.made("three", lambda: 1 // 0, 0)] == [
        0,
        0,
        0,
    ]
    assert beside.lacks == (
        "two: left out (TaskError: by mine)",
        "three: left out (ZeroDivisionError: integer division or modulo by zero)",
    )


def test_who_asks_a_study_to_stop_is_heard():
    def stop() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Beside().made("examples", stop, 0)
