"""A search that ends before its last trial: recorded, resumed as ended, reported, and extended at will."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.errors import StudyError
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.record.turns import taught_by
from lab.report.page import render
from lab.spec.study import StudySpec, parse_spec
from lab.stages import confirm, explore
from lab.study.study import Study
from tests.small import lab

TASK = '''"""Noise, whatever the setting; or a slope without any."""
from collections.abc import Iterator
import numpy as np
import lab

@lab.trial_function(metric="score", direction="maximize")
def noise(trial: lab.Trial) -> Iterator[dict[str, float]]:
    yield {"score": float(np.random.default_rng(trial.seed).normal())}

@lab.trial_function(metric="score", direction="maximize")
def slope(trial: lab.Trial) -> Iterator[dict[str, float]]:
    yield {"score": -trial.params["max_lr"]}
'''


def spec(folder: Path, until: dict[str, Any], task: str = "noise", trials: int = 60) -> StudySpec:
    (folder / "task.py").write_text(TASK)
    return parse_spec(
        {
            "name": "until",
            "task": {"kind": f"{folder}/task.py:{task}", "root": "/"},
            "space": {"max_lr": {"low": 0.1, "high": 0.9}, "x": {"low": 0.0, "high": 1.0}},
            "search": {"sampler": {"kind": "random"}, "trials": trials, "epochs": 1},
            "until": until,
            "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
            "execution": {"engine": "local", "lanes": 1},
        }
    )


def test_a_target_that_is_reached_ends_the_search_and_the_study_goes_on(tmp_path: Path) -> None:
    study = Study.from_spec(spec(tmp_path, {"target_score": -0.3}, "slope"), tmp_path / "run")
    study.run(until="confirm")
    rows = read_trials(study.record, "explore")
    scores = [row.score for row in rows if row.score is not None]
    assert len(rows) == len(scores) < 60
    reached = next(number for number, score in enumerate(scores) if score >= -0.3)
    # Not at the trial itself: on lanes of any number it ends at the first proposal that is made from it.
    assert len(rows) == next(number for number in range(60) if taught_by(number, 60 // 4) > reached)
    explored = explore.STAGE.need(study.record)
    assert explored.trials == len(rows)
    assert (explored.ended or "").endswith("has reached -0.3")
    assert confirm.STAGE.need(study.record).candidates
    assert "It ended before its 60 trials: score" in render(study.spec, study.record)
    # Told to explore again, it knows that it has ended.
    study.record.artefact_path("explore").unlink()
    Study.open(tmp_path / "run").run(until="explore")
    assert len(read_trials(study.record, "explore")) == len(rows)


def test_noise_is_not_searched_to_the_end_and_any_restart_ends_alike(tmp_path: Path) -> None:
    study = Study.from_spec(spec(tmp_path, {"gain_below_noise": True}), tmp_path / "run")
    study.run(until="explore")
    count = len(read_trials(study.record, "explore"))
    assert 24 <= count < 60
    assert "of the noise of a seed" in (explore.STAGE.need(study.record).ended or "")


@pytest.mark.parametrize("until", [{}, {"gain_below_noise": False, "target_score": 1e9, "hours": 1000.0}])
def test_otherwise_every_trial_is_made(tmp_path: Path, until: dict[str, Any]) -> None:
    study = Study.from_spec(spec(tmp_path, until, "slope", trials=12), tmp_path / "run")
    study.run(until="explore")
    assert len(read_trials(study.record, "explore")) == 12
    assert explore.STAGE.need(study.record).ended is None


def test_a_search_that_ended_may_be_extended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Study.from_spec(spec(tmp_path, {"target_score": -0.3}, "slope", trials=20), folder).run(until="explore")
    had = len(read_trials(Record(folder), "explore"))
    assert had < 20
    refused = lab("study", "extend", folder)
    assert "search.trials: 20 is not above the 20 there are" in refused.stderr
    lab("study", "extend", folder, "--set", "until.target_score=null")  # a trial function has no models to end with
    assert len(read_trials(Record(folder), "explore")) == 20


def test_one_that_had_no_time_for_a_trial_says_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"ended before its first trial, since 1e-12 hours are over"):
        Study.from_spec(spec(tmp_path, {"hours": 1e-12}, "slope"), tmp_path / "run").run(until="explore")
