"""Ray's own processes die: one line and how to go on, before Ray ends the driver with pages of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
import ray

from lab.errors import EngineLost
from lab.lanes.ray import engine as ray_engine
from lab.lanes.ray.lifeline import Lifeline
from lab.record.folder import Record
from lab.record.trials import read_trials
from tests.lanes.processes import descendants
from tests.small import small, start_lab, write_yaml


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lifeline(clock: Clock, daemon: str = "", head: tuple[str, int] | None = None) -> Lifeline:
    held = Lifeline(clock)
    held.hold()  # this process has joined no Ray
    held._daemon, held._head = daemon, head
    return held


def test_a_daemon_that_is_gone_is_noticed_at_the_next_look(clock: Clock, tmp_path: Path) -> None:
    path = str(tmp_path / "raylet")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.bind(path)
        daemon.listen()
        held = lifeline(clock, path)
        held.check()
    clock.now += 0.5
    held.check()  # it was looked for just now
    with pytest.raises(EngineLost, match=r"^Ray's process on this machine \(raylet\) has died; all finished epochs"):
        held.check(at_once=True)
    clock.now += 1
    with pytest.raises(EngineLost):
        held.check()


def test_a_head_may_be_away_while_it_is_restarted(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = ("127.0.0.1", head.getsockname()[1])
        held = lifeline(clock, head=address)
        held.check()
    for _ in range(3):
        clock.now += 6
        held.check()
    with socket.create_server(address, reuse_port=False):
        clock.now += 6
        held.check()
    for _ in range(3):
        clock.now += 6
        held.check()
    clock.now += 6
    with pytest.raises(EngineLost, match=r"^the head of Ray has not answered for 24 s; all finished epochs"):
        held.check()


def test_without_ray_there_is_nothing_to_miss(clock: Clock) -> None:
    held = lifeline(clock)
    for _ in range(3):
        clock.now += 100
        held.check()


def _process_of(driver: int, title: str) -> int:
    """A process that the driver has started, by how it is called."""
    for process in descendants():
        with contextlib.suppress(OSError):
            parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == driver and title in Path(f"/proc/{process}/cmdline").read_text():
                return process
    raise LookupError(title)


def _answer(error: Exception, held: Lifeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*_: object) -> None:
        raise error

    monkeypatch.setattr(ray_engine, "said", said)
    engine = ray_engine.RayEngine.__new__(ray_engine.RayEngine)
    engine._lifeline = held
    engine._answer(None)


def test_a_coordinator_that_dies_is_one_line(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = ray.exceptions.ActorDiedError()
    with pytest.raises(EngineLost, match=r"^the process that keeps the trials has died \(ActorDied"):
        _answer(died, lifeline(clock), monkeypatch)
    with pytest.raises(EngineLost, match=r"^Ray's process on this machine \(raylet\) has died; all finished"):
        _answer(died, lifeline(clock, str(tmp_path / "none")), monkeypatch)
    raised = ray.exceptions.RayTaskError("call", "traceback", ValueError("ours"))
    with pytest.raises(ray.exceptions.RayTaskError):
        _answer(raised, lifeline(clock), monkeypatch)


def test_a_ray_that_is_gone_is_asked_nothing_when_it_is_closed(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question would be waited for."""
    asked, ended = Mock(), Mock()
    monkeypatch.setattr(ray_engine.ray, "shutdown", ended)
    monkeypatch.setattr(ray_engine.ray, "get", asked)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.bind(str(tmp_path / "raylet"))
        daemon.listen()
        for path, questions in (("raylet", 1), ("none", 1)):
            engine = ray_engine.RayEngine.__new__(ray_engine.RayEngine)
            engine._lifeline, engine._scratch = lifeline(clock, str(tmp_path / path)), tmp_path / "scratch"
            engine._coordinator, engine._tune = Mock(), Mock()
            engine.close()
            assert asked.call_count == questions
    assert ended.call_count == 2


@pytest.mark.slow
def test_a_killed_raylet_is_one_line_and_how_to_resume(tmp_path: Path) -> None:
    value = small(
        space={"max_lr": {"low": 0.01, "high": 0.1}},
        search={"trials": 4, "epochs": 100_000},
        execution={"engine": "ray", "lanes": 1, "width": 1, "path": "sequential"},
    )
    folder = tmp_path / "run"
    record = Record(folder)
    process = start_lab("study", "run", write_yaml(tmp_path / "study.yaml", value), "--dir", folder)
    while not (record.journal_path.exists() and any(row.curve for row in read_trials(record, "explore"))):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.kill(_process_of(process.pid, "raylet/raylet"), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    last = output.strip().splitlines()[-1]
    assert last.startswith("lab: Ray's process on this machine (raylet) has died; all finished epochs are saved")
    assert last.endswith(f"resume with: lab study resume {folder}")
    assert "(raylet)" not in output.replace(last, "")
    assert "Traceback" not in output
