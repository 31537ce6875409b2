"""What stands beside costs itself alone."""

from __future__ import annotations

import threading

import pytest

from lab.errors import TaskError
from lab.tasks.beside import Beside, doubts, within


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


def _nothing(seconds: float) -> None:
    return


def test_what_comes_in_time_is_there_and_what_it_raises_is_raised():
    assert within(60, lambda: 3, pytest.fail) == 3
    with pytest.raises(ZeroDivisionError):
        within(60, lambda: 1 // 0, pytest.fail)
    with pytest.raises(SystemExit):
        within(60, lambda: exit(3), pytest.fail)


def test_what_takes_long_is_told_of_meanwhile():
    called = threading.Event()
    assert within(60, called.wait, lambda seconds: called.set(), every_s=0.01)


def test_what_takes_too_long_is_ended():
    began = threading.Event()

    def endless() -> None:
        began.set()
        while True:
            try:
                sum(range(100))
            except Exception:
                continue

    with pytest.raises(TimeoutError, match=r"longer than the 0\.05 s"):
        within(0.05, endless, _nothing)
    assert began.is_set()
    for thread in threading.enumerate():
        if thread.name == "beside":
            thread.join(timeout=60)
            assert not thread.is_alive()
    with pytest.raises(TimeoutError, match="no time is left"):
        within(0, endless, _nothing)


def test_what_is_doubtful_is_told_in_turn_and_what_was_not_looked_for_in_one_line():
    looked: list[str] = []

    def check(name: str) -> list[str]:
        looked.append(name)
        return [f"{name} is doubtful"]

    checks = {"salt": lambda: check("salt"), "sugar": lambda: check("sugar"), "nothing": lambda: []}
    assert doubts(checks) == ("salt is doubtful", "sugar is doubtful")
    assert looked == ["salt", "sugar"]
    assert doubts(checks, limit_s=0) == ("not looked for, as it takes longer than 0 s: salt, sugar, nothing",)
    assert len(looked) == 2


def test_a_check_that_takes_too_long_is_left_for_those_that_come_later_to_be_named():
    held = threading.Event()
    checks = {"rain": lambda: ["it rains"], "snow": lambda: [str(held.wait())], "hail": lambda: []}
    assert doubts(checks, limit_s=0.2) == ("it rains", "not looked for, as it takes longer than 0.2 s: snow, hail")
    held.set()
