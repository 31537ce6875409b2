"""What the system says of waiting for a core decides; where it says nothing, the load average does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.lanes.speed import contention
from lab.lanes.speed.contention import Contention, waited_s


class Threads:
    """A process's threads as the system would describe them, and a clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.now_s = folder, 0.0
        monkeypatch.undo()  # the fixture of this folder calls every machine quiet
        monkeypatch.setattr(contention, "_THREADS", folder)
        monkeypatch.setattr(contention.time, "perf_counter", lambda: self.now_s)

    def say(self, number: int, text: str) -> None:
        (self.folder / str(number)).mkdir(exist_ok=True)
        (self.folder / str(number) / "schedstat").write_text(text)


@pytest.fixture
def threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Threads:
    return Threads(tmp_path, monkeypatch)


@pytest.mark.parametrize(("waited_ns", "quiet"), [(0, True), (90_000_000, True), (110_000_000, False)])
def test_a_twentieth_of_the_time_may_be_waited(waited_ns: int, quiet: bool, threads: Threads):
    threads.say(1, "5 1000000000 3\n")
    threads.say(2, "5 1000000000 3\n")
    watch = Contention()
    threads.say(2, f"700 {1_000_000_000 + waited_ns} 9\n")
    threads.now_s = 2.0
    assert watch.is_quiet() is quiet


def test_a_thread_that_ends_takes_along_no_other_s_waiting(threads: Threads):
    threads.say(1, "5 0 3\n")
    threads.say(2, "5 9000000000 3\n")
    watch = Contention()
    (threads.folder / "2" / "schedstat").unlink()
    threads.say(1, "700 1000000000 9\n")
    threads.now_s = 2.0
    assert not watch.is_quiet()


def test_a_load_of_before_is_no_matter(threads: Threads, monkeypatch: pytest.MonkeyPatch):
    threads.say(1, "5 0 3\n")
    monkeypatch.setattr(os, "getloadavg", lambda: (1e9, 0.0, 0.0))
    assert Contention().is_quiet()


@pytest.mark.parametrize(("load", "quiet"), [(0.0, True), (1e9, False)])
@pytest.mark.parametrize("text", [None, "", "5", "5 x 3", "nothing"])
def test_the_load_decides_where_the_system_does_not_count(
    text: str | None, load: float, quiet: bool, threads: Threads, monkeypatch: pytest.MonkeyPatch
):
    if text is not None:
        threads.say(1, text)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert waited_s() == {}
    assert Contention().is_quiet() is quiet


def test_no_load_average_is_no_matter(threads: Threads, monkeypatch: pytest.MonkeyPatch):
    def unknown() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown)
    assert Contention().is_quiet()


@pytest.mark.skipif(not waited_s(), reason="this system does not count")
def test_a_core_that_is_shared_is_seen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    mine = os.sched_getaffinity(0)
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as other:
        try:
            for process in (0, other.pid):
                os.sched_setaffinity(process, {min(mine)})
            watch, begin_s = Contention(), time.thread_time()
            while time.thread_time() - begin_s < 0.1:
                sum(range(1_000))
            assert not watch.is_quiet()
        finally:
            os.sched_setaffinity(0, mine)
            other.kill()
