"""The range test where batch size and optimizer are searched: at which of them it runs, and whose rates it covers."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from lab.errors import StudyError
from lab.range_test import Agreement
from lab.record.trials import read_trials
from lab.spec.study import parse_spec
from lab.stages import bounds
from lab.stages.bounds import Bounds
from lab.stages.stage import Trainings
from lab.study.cost import trainings
from lab.study.study import Study
from tests.small import small

BOUNDS = {"seeds": 2, "weight_decays": [0.01], "steps": 60, "start": 1e-5}


def bounds_of(folder: Path, more: dict[str, Any], **changes: Any) -> Bounds:
    space = {"max_lr": {"from": "bounds"}, "dropout": {"low": 0.0, "high": 0.5}, **more}
    spec = parse_spec(small(space=space, bounds=BOUNDS, **changes))
    study = Study.from_spec(spec, folder)
    study.run(until="bounds")
    return bounds.STAGE.need(study.record)


@pytest.fixture(scope="module")
def of_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bounds]:
    """The range test of each optimizer by itself."""
    folder = tmp_path_factory.mktemp("one")
    return {kind: bounds_of(folder / kind, {}, optimizer={"kind": kind}) for kind in ("adamw", "sgd")}


def test_the_range_covers_every_optimizer_and_the_suggestion_is_the_specs(
    of_one: dict[str, Bounds], tmp_path: Path
) -> None:
    more = {"batch_size": {"choice": [128, 64]}, "optimizer": {"choice": ["sgd", "adamw"]}}
    artefact = bounds_of(tmp_path / "both", more)
    assert artefact.at == {"batch_size": 64, "optimizer": "adamw"}
    assert artefact.low == min(one.low for one in of_one.values())
    assert artefact.high == max(one.high for one in of_one.values())
    assert (artefact.suggestion, artefact.runs) == (of_one["adamw"].suggestion, of_one["adamw"].runs)
    assert bounds.STAGE.said(artefact).endswith(", at batch_size 64, optimizer adamw")
    assert bounds.STAGE.said(of_one["sgd"]).endswith(f"{of_one['sgd'].high:.2g}")
    assert of_one["sgd"].high > of_one["adamw"].high, "else the test shows nothing"


def test_no_more_steps_are_trained_than_were_asked_for(of_one: dict[str, Bounds]) -> None:
    assert of_one["adamw"].steps == 60, "of four epochs, which have 16 each"


_SHORT = {"bounds": {**BOUNDS, "steps": 12}, "search": {"trials": 60, "epochs": 3}}


def test_a_test_that_says_nothing_is_followed_by_longer_ones(tmp_path: Path) -> None:
    spec = parse_spec(small(space={"max_lr": {"from": "bounds"}}, **_SHORT))
    study = Study.from_spec(spec, tmp_path)
    study.run(until="bounds")
    longer = bounds.STAGE.need(study.record)
    assert longer.steps in (36, 108)
    assert longer.trials - longer.short_trainings == 2 * (1 + (longer.steps >= 36) + (longer.steps == 108))
    assert all(reading.says_something for reading in longer.runs)
    # Were it interrupted now, it would take up what has ended.
    trials = len(read_trials(study.record, "bounds"))
    (tmp_path / "bounds.json").unlink()
    Study.open(tmp_path).run(until="bounds")
    assert bounds.STAGE.need(study.record) == longer
    assert len(read_trials(study.record, "bounds")) == trials


def test_longer_tests_than_the_search_can_afford_are_not_made(tmp_path: Path) -> None:
    spec = parse_spec(small(space={"max_lr": {"from": "bounds"}}, **{**_SHORT, "search": {"trials": 1, "epochs": 2}}))
    prior = {"sampler": {"kind": "forest", "prior": {"max_lr": {"from": "bounds"}}}, "trials": 1, "epochs": 2}
    ranged = small(space={"max_lr": {"low": 1e-4, "high": 1.0, "log": True}}, **{**_SHORT, "search": prior})
    without = Study.from_spec(parse_spec(ranged), tmp_path / "prior")
    without.run(until="bounds")
    skipped = json.loads((tmp_path / "prior" / "bounds.json").read_text())["skipped"]
    assert "says nothing (the loss never falls" in skipped
    assert len(read_trials(without.record, "bounds")) == 2
    # Without a range there is no study: one longer test is made all the same.
    study = Study.from_spec(spec, tmp_path / "needed")
    with contextlib.suppress(StudyError):
        study.run(until="bounds")
    lengths = sorted({len(row.step_losses) for row in read_trials(study.record, "bounds") if row.trial.role})
    assert 12 < max(lengths) <= 36


def test_a_study_without_a_range_ends_with_how_long_was_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Agreement(None, None, None, None, None, None, "the loss never falls")
    monkeypatch.setattr(bounds, "agree", lambda readings, end: nothing)
    spec = parse_spec(small(space={"max_lr": {"from": "bounds"}}, **{**_SHORT, "search": {"trials": 1, "epochs": 2}}))
    with pytest.raises(StudyError, match=r"^range test: the loss never falls, in 36 steps; give space\.max_lr a range"):
        Study.from_spec(spec, tmp_path).run(until="bounds")


def test_a_batch_size_that_is_not_searched_is_not_tested(tmp_path: Path) -> None:
    artefact = bounds_of(tmp_path, {"batch_size": {"choice": [128, 256]}}, batch_size=32)
    assert artefact.at == {"batch_size": 128}


def test_every_optimizer_costs_its_range_tests() -> None:
    space = {"max_lr": {"from": "bounds"}, "optimizer": {"choice": ["sgd", "adamw"]}}
    assert trainings(parse_spec(small(space=space, bounds=BOUNDS)), None)["bounds"] == Trainings(4, 0, 4 * 60)
