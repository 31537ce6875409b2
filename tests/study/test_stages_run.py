"""The stages of a study, one after the other: which of them, and what becomes of a page that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.errors import SpecError
from lab.record.folder import Record
from lab.study.callbacks import Callbacks
from lab.study.progress import Display
from lab.study.stages_run import StagesRun, stages_until
from tests.small import small_spec


def test_stages_end_with_the_one_that_is_named() -> None:
    assert [stage.name for stage in stages_until("explore")] == ["bounds", "explore"]
    assert stages_until(None)[-1].name == "refit"
    with pytest.raises(SpecError, match=r"--until: 'explor' is unknown; choices: bounds, explore, "):
        stages_until("explor")


def test_a_page_that_cannot_be_written_does_not_end_a_complete_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lab.report import page

    def broken(*arguments: Any) -> Path:
        raise KeyError("a template's name")

    monkeypatch.setattr(page, "write_report", broken)
    record = Record(tmp_path)
    run = StagesRun(small_spec(), record, Display(), Callbacks(record, None, None), None, None)
    run.through([], is_whole=True)
    assert 'the report could not be written (KeyError: "a template\'s name"); the study is complete' in (
        " ".join(capsys.readouterr().err.split())
    )
