"""The stages of a study, one after the other: which of them, and what becomes of a page that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lab.errors import EngineError, Interrupted, LabError, SpecError
from lab.record.folder import Record
from lab.study.callbacks import Callbacks
from lab.study.progress import Display
from lab.study.stages_run import StagesRun, stages_until
from lab.study.study import Study
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU that is asked for is here")
def test_nothing_is_left_of_a_study_that_asks_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    spec = small_spec(execution={"engine": "auto", "device": "cuda"})
    with pytest.raises(SpecError, match=r"execution\.device: 'cuda' is asked for, and PyTorch sees no GPU here"):
        Study.from_spec(spec, folder).run(until="explore", quiet=True)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("error", "fresh", "stays"),
    [
        (EngineError("no lane starts: a lane needs 1 GPU"), True, False),
        (EngineError("no lane starts: a lane needs 1 GPU"), False, True),
        (Interrupted("stopped; resume"), True, True),
    ],
)
def test_lanes_that_cannot_be_opened_leave_a_study_as_it_was(
    error: LabError, fresh: bool, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, folder = small_spec(space={"max_lr": {"low": 0.001, "high": 0.1}}, search={"trials": 1}), tmp_path / "run"
    if not fresh:
        Study.from_spec(spec, folder).run(until="explore", quiet=True)

    def refused(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr("lab.lanes.speed.choose.open_lanes", refused)
    with pytest.raises(type(error)):
        Study.from_spec(spec, folder).run(quiet=True)
    assert (folder / Record.SPEC).exists() is stays
