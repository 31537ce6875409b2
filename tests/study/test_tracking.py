"""Tracking neither ends nor holds up a study: whatever it raises is one line."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue
from threading import TIMEOUT_MAX, Event
from typing import Any

import pytest

from lab.record.folder import Record
from lab.report.wandb_runs import study_run
from lab.report.wandb_runs.service import patience_s
from lab.stages import STAGES
from lab.study import tracking
from lab.study.study import Study
from lab.study.tracking import Tracker
from tests.small import small_spec


class Broken:
    """A service that works until it is asked for one thing."""

    def __init__(self, at: str) -> None:
        self.at = at
        self._ask("begin")

    def _ask(self, name: str) -> None:
        if name == self.at:
            raise ConnectionError(f"{name}:\n  no route to host" + "x" * 10_000)

    @property
    def where(self) -> str:
        self._ask("where")
        return "elsewhere"

    def look(self) -> None:
        self._ask("look")

    def stage(self, stage: Any, artefact: Any) -> None:
        self._ask("stage")

    def finish(self, record: Record) -> None:
        self._ask("finish")

    def leave(self) -> None:
        self._ask("leave")


@pytest.mark.parametrize("at", ["begin", "where", "stage", "finish"])
def test_a_service_that_breaks_is_told_once_and_asked_no_more(at: str, tmp_path: Path):
    said: list[str] = []
    given_up: list[str] = []
    tracker = Tracker(
        lambda: Broken(at), said.append, Path("runs/a study"), lambda: given_up.append(at), 60, lambda: False
    )
    for stage in STAGES[:2]:
        tracker.stage(stage, None)
    tracker.finish(Record(tmp_path))
    tracker.finish(Record(tmp_path))
    *where, warning = said
    assert where == ([] if at in ("begin", "where") else ["tracking  elsewhere"])
    assert warning.startswith(f"warning   tracking: ConnectionError: {at}: no route to host")
    later = "lab study report 'runs/a study' --to wandb"
    assert warning.endswith(f"; the study goes on without it; catch up by: {later}")
    assert len(warning) < 300
    assert given_up == [at]


def test_a_service_that_breaks_between_stages_is_told_as_it_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Nobody has to end a stage for it to be seen."""
    monkeypatch.setattr(tracking, "_EVERY_S", 0.01)
    said: SimpleQueue[str] = SimpleQueue()
    Tracker(lambda: Broken("look"), said.put, tmp_path, lambda: None, 60, lambda: False)
    assert said.get(timeout=60) == "tracking  elsewhere"
    assert said.get(timeout=60).startswith("warning   tracking: ConnectionError: look: no route")


def test_a_service_that_does_not_answer_is_not_waited_for_when_a_study_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(tracking, "_LEAVE_WITHIN_S", 0.01)
    answers, given_up = Event(), Event()

    class Slow(Broken):
        def leave(self) -> None:
            answers.wait()

    tracker = Tracker(lambda: Slow(""), lambda line: None, tmp_path, given_up.set, 60, lambda: False)
    tracker.leave()
    assert not answers.is_set()
    assert given_up.is_set()
    answers.set()


@pytest.mark.parametrize("at", ["where", "stage", "finish"])
def test_a_service_that_does_not_answer_is_given_up_once_a_study_is_complete(
    at: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("lab.study.tracking.time.monotonic", lambda: 0.0)
    answers, said = Event(), SimpleQueue[str]()

    class Stuck(Broken):
        def _ask(self, name: str) -> None:
            if name == self.at:
                answers.wait()
                raise ConnectionError("too late to be told")

    threads = threading.enumerate()
    tracker = Tracker(lambda: Stuck(at), said.put, Path("run"), lambda: said.put("given up"), 0, lambda: False)
    thread = next(one for one in threading.enumerate() if one not in threads)
    if at != "where":
        assert said.get(timeout=60) == "tracking  elsewhere"
    tracker.stage(STAGES[0], None)
    tracker.finish(Record(tmp_path))
    answers.set()
    thread.join(60)
    warning, last = (said.get() for _ in range(said.qsize()))
    assert warning.startswith("warning   tracking: no answer for 0 s; the study goes on without it; catch up by:")
    assert last == "given up"


def test_a_service_that_does_not_answer_is_not_waited_for_once_the_user_wants_to_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The study is complete then: nothing is left to be stopped but the waiting."""
    monkeypatch.setattr(tracking, "_LEAVE_WITHIN_S", 0)
    monkeypatch.setattr("lab.study.tracking.time.monotonic", lambda: 0.0)
    answers, given_up, said = Event(), Event(), SimpleQueue[str]()

    class Slow(Broken):
        def finish(self, record: Record) -> None:
            answers.wait()

    tracker = Tracker(lambda: Slow(""), said.put, tmp_path, given_up.set, TIMEOUT_MAX, lambda: True)
    assert said.get(timeout=60) == "tracking  elsewhere"
    tracker.finish(Record(tmp_path))
    assert given_up.is_set()
    answers.set()
    assert said.get(timeout=60).startswith("warning   tracking: no answer for 0 s; ")


def test_what_breaks_after_a_study_has_stopped_is_no_news(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The command has said that it has stopped; what ends W&B at its exit ends the call that has held on."""
    monkeypatch.setattr(tracking, "_LEAVE_WITHIN_S", 0.01)
    ends, ended = Event(), Event()

    class Torn(Broken):
        def leave(self) -> None:
            if ended.is_set():
                return
            ended.set()
            ends.wait()
            raise ConnectionError("torn down")

    said: list[str] = []
    threads = set(threading.enumerate())
    tracker = Tracker(lambda: Torn(""), said.append, tmp_path, lambda: None, 60, lambda: True)
    (thread,) = set(threading.enumerate()) - threads
    tracker.leave()
    assert ended.wait(60)
    ends.set()
    thread.join(60)
    assert said == ["tracking  elsewhere"]


def test_no_limit_of_a_users_is_no_limit_here(monkeypatch: pytest.MonkeyPatch):
    for name in ("WANDB_INIT_TIMEOUT", "WANDB_FINISH_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    assert patience_s() == 4 * (30 + 60)
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "600")
    assert patience_s() == 4 * (30 + 600)
    for none in ("0", "inf", "nan"):
        monkeypatch.setenv("WANDB_FINISH_TIMEOUT", none)
        assert patience_s() == TIMEOUT_MAX
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "soon")
    assert patience_s() == 4 * (30 + 60)


def test_a_key_that_is_none_does_not_keep_a_study_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refused(*_: object) -> None:
        raise ValueError("API key must have 40+ characters, has 3.")

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(study_run, "WandbTracker", refused)
    spec = small_spec(space={"max_lr": {"low": 0.01, "high": 0.1}})
    Study.from_spec(spec, tmp_path / "run").run(until="bounds", track="wandb", quiet=False)
    assert (tmp_path / "run" / "bounds.json").exists()
    line = "tracking: ValueError: API key must have 40+ characters, has 3.; the study goes on without it; "
    assert line in capsys.readouterr().err
