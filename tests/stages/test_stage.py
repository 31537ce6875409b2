"""Stages by their declarations: in order, cheap to list, complete in what follows from them, and strict in what they
read."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from lab.errors import RecordError
from lab.record.folder import Record, write_json
from lab.spec.study import StudySpec
from lab.stages import STAGES, TRAINS, bounds, confirm, explain
from lab.stages.explain import Withheld
from lab.stages.stage import Skipped, Stage, Trainings
from lab.study.cost import steps_of, trainings
from tests.small import environment, small_spec


@dataclass(frozen=True)
class Counted:
    number: int
    note: str = ""


def _run(spec: StudySpec, record: Record, engine: object) -> Counted | Skipped:
    return Counted(3)


COUNTING = Stage("counting", _run, (Counted,), lambda artefact: f"counted to {artefact.number}", file="numbers")


def test_the_stages_run_in_this_order_and_these_train() -> None:
    names = ["bounds", "explore", "explain", "confirm", "final", "ensemble", "refit"]
    assert [stage.name for stage in STAGES] == names
    assert TRAINS == ("bounds", "explore", "confirm", "final", "refit")


def test_every_stage_is_a_module_of_its_own_name() -> None:
    for stage in STAGES:
        assert sys.modules[f"lab.stages.{stage.name}"].STAGE is stage


def test_listing_stages_imports_nothing_that_trains_or_fits() -> None:
    code = "import sys, lab.stages; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "ray", "sklearn", "scipy", "pandas", "wandb", "plotly"}


def test_what_is_trained_is_the_sum_of_what_the_stages_train() -> None:
    spec = small_spec()
    counts = trainings(spec, None)
    assert tuple(counts) == TRAINS
    assert counts["bounds"] == Trainings(2, 0, 2 * 60)
    assert counts["explore"] == Trainings(12, 12 * 3)
    assert counts["confirm"] == Trainings(8, 8 * 3)
    assert counts["final"] == Trainings(2 + 2 + 1 + 6 + 8, 17 * 4 + 2 * 3, snapshots=19 + 1)
    assert counts["refit"] == Trainings(3 * 3, 9 * 4, snapshots=3 * (3 + 1))
    assert steps_of(spec, TRAINS, 10.0) == 120 + 10 * (36 + 24 + 74 + 36)
    assert steps_of(spec, ("confirm",), 10.0) == 240


def test_a_full_control_costs_what_the_whole_study_costs() -> None:
    """Twelve trials and eight confirmations of 3 epochs are 15 runs of 4; eight more are those of the final models."""
    spec = small_spec(final={"controls": "full"})
    assert trainings(spec, None)["final"].trainings == 2 + 2 + 1 + 6 + (8 + 15)
    assert trainings(small_spec(final={"controls": "none"}), None)["final"].trainings == 5


@pytest.mark.parametrize(
    ("snapshots", "cycles", "more"),
    [
        (5, {}, 4),
        (1, {}, 0),
        ("auto", {}, 0),
        ("auto", {"choice": [1, 3]}, 2),
        ("auto", {"low": 1, "high": 2, "int": True}, 1),
    ],
)
def test_as_many_snapshots_are_counted_as_a_cyclical_run_may_leave(snapshots: Any, cycles: Any, more: int) -> None:
    space = {"max_lr": {"low": 1e-3, "high": 0.1}} | ({"cycles": cycles} if cycles else {})
    spec = small_spec(space=space, final={"epochs": 6, "snapshots": snapshots, "controls": "none"})
    final, refit = (trainings(spec, None)[stage] for stage in ("final", "refit"))
    assert final.snapshots == final.trainings + more
    assert refit.snapshots == refit.trainings + 3 * more
    assert trainings(small_spec(final={"refit": False}), None)["refit"].snapshots == 0


def test_an_artefact_is_there_once_it_is_written(tmp_path: Path) -> None:
    record = Record(tmp_path)
    assert COUNTING.read(record) is COUNTING.if_any(record) is None
    for ask in (COUNTING.need, COUNTING.complete):
        with pytest.raises(RecordError, match=r"numbers\.json: is missing; stage 'counting' has to run first"):
            ask(record)
    written = COUNTING.write(record, COUNTING.run(small_spec(), record, None))
    assert written == Counted(3) == COUNTING.need(record) == COUNTING.if_any(record)
    assert COUNTING.said(written) == "counted to 3"


def test_one_that_was_skipped_is_none_that_a_later_stage_can_use(tmp_path: Path) -> None:
    record = Record(tmp_path)
    skipped = COUNTING.write(record, Skipped("nothing to count"))
    assert json.loads((tmp_path / "numbers.json").read_text()) == {"skipped": "nothing to count"}
    assert COUNTING.said(skipped) == "skipped: nothing to count"
    assert COUNTING.complete(record) == COUNTING.read(record) == skipped
    assert COUNTING.if_any(record) is None
    with pytest.raises(RecordError, match=r"stage 'counting' was skipped: nothing to count"):
        COUNTING.need(record)


def _least(stage: Stage[Any]) -> set[str]:
    usual = stage.artefact[0]
    return {f.name for f in fields(usual) if f.default is MISSING and f.default_factory is MISSING}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_an_empty_artefact_is_refused_in_one_line_with_all_that_it_lacks(stage: Stage[Any], tmp_path: Path) -> None:
    record = Record(tmp_path)
    write_json(stage.path(record), {})
    with pytest.raises(RecordError) as refused:
        stage.read(record)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{stage.path(record)}: lacks ")
    assert message.endswith("; restore it from a copy, or delete it and resume")
    assert set(message.partition(": lacks ")[2].partition(";")[0].split(", ")) == _least(stage)


def test_a_forest_of_too_few_trials_is_read_as_withheld(tmp_path: Path) -> None:
    record = Record(tmp_path)
    assert explain.STAGE.path(record).name == "response.json"
    write_json(explain.STAGE.path(record), {"withheld": "fewer than 4 trials", "trials": 2})
    read = explain.STAGE.need(record)
    assert read == Withheld("fewer than 4 trials", 2)
    assert explain.STAGE.said(read) == "out-of-bag R2 unknown"


CONFIRMED = {
    "metric": "accuracy",
    "direction": "maximize",
    "seeds": 2,
    "observed_best": {"trial": 1, "score": 0.9, "params": {"max_lr": 0.1, "pool": "max", "wide": True, "n": 3}},
    "candidates": [],
    "chosen": {
        "one_cycle": {
            "kind": "one_cycle",
            "trial": 1,
            "params": {"max_lr": 0.1},
            "scores": [0.8, 0.9],
            "outcomes": ["completed", "completed"],
            "summary": {"mean": 0.85, "std": 0.07, "low": 0.2, "high": 1.0, "n": 2},
        },
        "several": None,
    },
}


def test_an_artefact_of_before_the_luck_was_taken_out_is_still_read(tmp_path: Path) -> None:
    record = Record(tmp_path)
    write_json(confirm.STAGE.path(record), CONFIRMED)
    read = confirm.STAGE.need(record)
    assert read.chosen.one_cycle.unbiased is read.chosen.one_cycle.observed is None
    assert confirm.STAGE.said(read) == "best setup of one cycle 0.85"
    kept = read.observed_best.params
    assert [type(kept[name]) for name in ("max_lr", "pool", "wide", "n")] == [float, str, bool, int]


def test_a_range_test_of_before_there_were_marks_is_still_read(tmp_path: Path) -> None:
    record = Record(tmp_path)
    old: dict[str, Any] = {"low": 0.001, "high": 0.1, "suggestion": 0.01, "sure": None, "weight_decay": None}
    run = {"seed": 0, "weight_decay": 0.01, "lrs": [0.1], "smoothed": [1.0]}
    write_json(bounds.STAGE.path(record), {**old, "verdict": "agree", "runs": [run]})
    read = bounds.STAGE.need(record)
    assert (read.marks, read.at, read.trials) == (None, {}, 0)
    assert not read.runs[0].says_something
