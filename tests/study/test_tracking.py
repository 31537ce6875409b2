"""Tracking neither ends nor holds up a study: whatever it raises is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.record.folder import Record
from lab.report.wandb_runs import study_run
from lab.stages import STAGES
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

    def stage(self, stage: Any, artefact: Any) -> None:
        self._ask("stage")

    def finish(self, record: Record) -> None:
        self._ask("finish")


@pytest.mark.parametrize("at", ["begin", "where", "stage", "finish"])
def test_a_service_that_breaks_is_told_once_and_asked_no_more(at: str, tmp_path: Path):
    said: list[str] = []
    tracker = Tracker(lambda: Broken(at), said.append)
    for stage in STAGES[:2]:
        tracker.stage(stage, None)
    tracker.finish(Record(tmp_path))
    tracker.finish(Record(tmp_path))
    *where, warning = said
    assert where == ([] if at in ("begin", "where") else ["tracking  elsewhere"])
    assert warning.startswith(f"warning   tracking: ConnectionError: {at}: no route to host")
    assert warning.endswith("; the study goes on without it")
    assert len(warning) < 300


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
    line = "tracking: ValueError: API key must have 40+ characters, has 3.; the study goes on without it"
    assert line in capsys.readouterr().err
