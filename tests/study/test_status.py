"""Where a study is, and what is going on in it just now."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.lanes.live_status import NAME, LiveStatus
from lab.record.folder import Record
from lab.spec.exchange import Progress
from lab.study.going_on import write_spec
from lab.study.status import Status, describe_status, status_of, views_of, watch_status
from lab.study.study import Study
from tests.small import small_spec

LANES = [
    {"lane": 0, "state": "working", "slots": 4, "epoch_s": 1.0, "host": "a", "address": "10.0.0.1", "gpus": ["0"]},
    {"lane": 1, "state": "working", "slots": 3, "epoch_s": 1.0, "host": "a", "address": "10.0.0.1", "gpus": ["1"]},
    {"lane": 2, "state": "lost", "slots": 4, "epoch_s": 1.0, "host": "b", "address": "10.0.0.2", "gpus": []},
]


def progress(**changes: Any) -> Progress:
    fields: dict[str, Any] = {"stage": "explore", "planned": 64, "counts": {"completed": 10}, "running": 7}
    fields |= {"epochs_done": 300, "epochs_planned": 1728, "best": 0.9, "finished": False, "repeated": 5}
    return Progress(**(fields | changes))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study.from_spec(small_spec(), tmp_path)
    write_spec(study.spec, study.record)
    return study


def test_a_running_study_shows_nodes_lanes_slots_and_pace(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    glance = LiveStatus()
    for minute in range(3):
        clock[0] = 60.0 * minute
        glance.write(study.record.folder, progress(counts={"completed": 4 + 6 * minute}), LANES, {"restarts": 2})
    text = describe_status(status_of(study))
    assert "explore: 16/64 trials, 7 running, 6.0 trials/min" in text
    assert "2 working, 1 lost; 2 restarts; 5 epochs repeated" in text
    assert "a (10.0.0.1): 2 lanes, 7 trials at once, GPUs 0, 1" in text
    assert "b (10.0.0.2): 1 lanes, 0 trials at once" in text
    assert "resume with" not in text


def test_the_bars_of_a_running_study_say_what_its_own_terminal_says(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    live = LiveStatus()
    for minute in range(2):
        clock[0] = 60.0 * minute
        best = progress(epochs_done=400 + 32 * minute, best_params={"max_lr": 0.0123, "cycles": 2})
        live.write(study.record.folder, best, LANES)
    views = {view.name: view for view in views_of(status_of(study))}
    assert views["explore"].running
    assert views["explore"].share == pytest.approx(432 / 1728)
    said = "10/64 trials, 7 running, 40 minutes left, best 0.9 (max_lr 0.0123, cycles 2)"
    assert views["explore"].said == said
    assert (views["final"].share, views["final"].running, views["final"].said) == (0.0, False, "")


def test_what_a_dead_driver_said_is_not_now(study: Study) -> None:
    LiveStatus().write(study.record.folder, progress(), LANES)
    path = study.record.folder / NAME
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "written_at": said["written_at"] - 60}))
    status = status_of(study)
    assert status.now is None
    assert "resume with" in describe_status(status)
    path.write_text("{")
    assert status_of(study).now is None


def test_a_glance_is_taken_every_two_seconds_and_at_the_end(study: Study) -> None:
    glance = LiveStatus()
    path = study.record.folder / NAME
    glance.write(study.record.folder, progress(), ())
    glance.write(study.record.folder, progress(running=1), ())
    assert json.loads(path.read_text())["trials"]["running"] == 7
    glance.write(study.record.folder, progress(running=0, finished=True), ())
    assert json.loads(path.read_text())["trials"]["running"] == 0


def _driven_by(study: Study, host: str, process: int) -> None:
    said = f"lab study, process {process} on {host}, since 2026-01-01 00:00:00"
    (study.record.folder / Record.LOCK).write_text(said)


def _ended() -> int:
    """A process that is no more."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_watch_of_a_study_that_nobody_runs_says_so_and_ends(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    watch_status(study, every_s=0.01)  # nobody has ever run it
    _driven_by(study, socket.gethostname(), _ended())
    watch_status(study, every_s=0.01)
    (study.record.folder / Record.LOCK).write_text("what is this")
    watch_status(study, every_s=0.01)
    out = capsys.readouterr().out
    assert out.count("nobody runs it, so there is nothing to watch") == 3
    assert "resume with: lab study resume" in out


def test_a_watch_waits_for_a_driver_that_says_nothing_just_now(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = 0
    real = status_of

    def counted(study: Study) -> Status:
        nonlocal looks
        looks += 1
        return replace(real(study), complete=looks == 4)

    monkeypatch.setattr("lab.study.status.status_of", counted)
    _driven_by(study, socket.gethostname(), os.getpid())
    watch_status(study, every_s=0.001)
    assert looks == 4
    looks = 0
    _driven_by(study, "another", 1)  # of which nobody knows whether it lives
    watch_status(study, every_s=0.001)
    assert looks == 4
    looks = 0
    monkeypatch.setattr("lab.study.status._PATIENCE_S", -1.0)
    watch_status(study, every_s=0.001)
    assert looks == 1
    assert capsys.readouterr().out.count("nobody runs it") == 1


def test_a_watch_ends_with_the_study(
    study: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _driven_by(study, socket.gethostname(), os.getpid())
    looks = iter([False, True])
    real = status_of
    monkeypatch.setattr("lab.study.status.status_of", lambda study: replace(real(study), complete=next(looks)))
    watch_status(study, every_s=0.01)
    assert "small in" in capsys.readouterr().out


def test_a_driver_whose_process_has_ended_is_not_at_work(study: Study) -> None:
    LiveStatus().write(study.record.folder, progress(), LANES)
    assert status_of(study).now is not None
    path = study.record.folder / NAME
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"driver": {**content["driver"], "process": ended.pid}}))
    assert "resume with: lab study resume" in describe_status(status_of(study))
    path.write_text(json.dumps(content | {"driver": {"host": "another", "process": ended.pid}}))
    assert status_of(study).now is not None
