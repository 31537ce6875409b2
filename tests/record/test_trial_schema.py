"""What the storage keeps of a trial: both ways, and as earlier versions wrote it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from lab.record import trial_schema as schema
from lab.record.folder import Record
from lab.record.journal import ReadOnlyJournal
from lab.record.ledger import Ledger
from lab.record.trial_schema import Seat, StoredTrial
from lab.record.trials import read_trials
from lab.schedules import Constant, OneCycle, Schedule
from lab.spec.exchange import Report
from lab.spec.plan import Job, Recipe, SearchPlan, TaskRef, Training
from lab.spec.space import Float, Space
from lab.spec.trial import Outcome, Trial

OLD = Path(__file__).parents[1] / "golden" / "ledger.journal"
"""Written by the first version, with times and worker ids made equal: a search of two trials, of which one completed
and one was preempted and waits again; and a planned trial of stage `final`."""


def _job(folder: Path, stage: str, plan: SearchPlan | tuple[Trial, ...]) -> Job:
    return Job(
        stage=stage,
        folder=folder,
        task=TaskRef("digits"),
        space=Space({"max_lr": Float(0.1, 1.0, log=True)}),
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 64),
        direction="maximize",
        metric="accuracy",
        seed=0,
        width=2,
        lanes=1,
        plan=plan,
    )


SEARCH = SearchPlan({"kind": "random"}, {"kind": "none"}, trials=2, epochs=2)
FINAL = Trial({"max_lr": 0.5}, 8, 4, "short:0", Constant(max_lr=0.5), keep=True)


@pytest.fixture
def old(tmp_path: Path) -> Record:
    shutil.copy(OLD, Record(tmp_path).journal_path)
    return Record(tmp_path)


def test_a_journal_of_the_first_version_is_read(old: Record) -> None:
    ended, again = read_trials(old, "explore")
    assert ended.trial == Trial({"max_lr": 0.3538453590906551}, 1930330442, 2, "search")
    assert (ended.number, ended.outcome, ended.score, ended.curve) == (0, Outcome.COMPLETED, 0.75, {1: 0.5, 2: 0.75})
    assert (ended.metrics, ended.step_losses, ended.detail) == ({"accuracy": 0.75, "loss": None}, [0.3333333], "")
    assert (ended.plan_index, ended.seconds) == (None, 0.0)
    assert (again.number, again.outcome, again.trial.seed) == (2, None, 1539816466), "the preempted one is left out"
    (waits,) = read_trials(old, "final")
    assert (waits.trial, waits.outcome, waits.plan_index, waits.curve) == (FINAL, None, 0, {})


def test_where_a_trial_of_the_first_version_ran_is_read(old: Record) -> None:
    study = optuna.load_study(study_name="explore", storage=JournalStorage(ReadOnlyJournal(old.journal_path)))
    stored = [StoredTrial(trial) for trial in study.trials]
    assert [(trial.seat, trial.end_tick) for trial in stored] == [
        (Seat(0, 0, 0), 2),
        (Seat(0, 1, 0), None),
        (None, None),
    ]
    assert [trial.was_preempted for trial in stored] == [False, True, False]
    assert [trial.waits_with for trial in stored] == [None, None, {"max_lr": 0.26122937099604315}]


def test_a_study_of_the_first_version_goes_on(old: Record) -> None:
    ledger = Ledger(_job(old.folder, "explore", SEARCH))
    (again,) = ledger.next(0, 2, (0, 1)).assignments
    assert (again.number, again.trial.seed, again.trial.params) == (2, 1539816466, {"max_lr": 0.26122937099604315})
    assert again.trial.schedule == OneCycle(max_lr=0.26122937099604315)
    ledger.release()
    ledger = Ledger(_job(old.folder, "final", (FINAL,)))
    assert [a.trial for a in ledger.next(0, 0, (0, 1)).assignments] == [FINAL]
    ledger.release()


def test_the_same_study_leaves_the_journal_of_the_first_version(tmp_path: Path) -> None:
    ledger = Ledger(_job(tmp_path, "explore", SEARCH))
    first, second = ledger.next(0, 0, (0, 1)).assignments
    ledger.report(0, 0, (Report(first.number, 1, {"accuracy": 0.5}),))
    metrics = {"accuracy": 0.75, "loss": math.nan}
    ledger.report(0, 1, (Report(first.number, 2, metrics, Outcome.COMPLETED, step_losses=(1 / 3,)),))
    ledger.close(second.number, Outcome.PREEMPTED, "node lost")
    ledger.release()
    Ledger(_job(tmp_path, "final", (FINAL,))).release()
    assert _timeless(Record(tmp_path).journal_path) == _timeless(OLD)


def _timeless(journal: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    return [{name: v for name, v in entry.items() if not name.startswith(("worker", "datetime"))} for entry in entries]


TRIALS = st.builds(
    Trial,
    params=st.dictionaries(st.sampled_from("abc"), st.integers() | st.booleans() | st.sampled_from(["x", 0.1, 1e-9])),
    seed=st.integers(0, 2**31),
    epochs=st.integers(1, 10_000),
    role=st.text(),
    own_schedule=st.none() | st.sampled_from([Constant(max_lr=0.5), OneCycle(max_lr=0.1, pct_start=0.2)]),
    keep=st.booleans(),
    fold=st.none() | st.integers(0, 9),
)


def _through_json(trial: FrozenTrial) -> StoredTrial:
    """As the journal gives it back."""
    trial.user_attrs = json.loads(json.dumps(trial.user_attrs))
    trial.system_attrs = json.loads(json.dumps(trial.system_attrs))
    return StoredTrial(trial)


@given(TRIALS, st.integers(0, 99))
def test_a_planned_trial_is_read_as_it_was_written(trial: Trial, index: int):
    stored = _through_json(schema.waiting(trial, index))
    assert (stored.trial, stored.plan_index, stored.state) == (trial, index, TrialState.WAITING)
    assert (stored.outcome, stored.seat, stored.score, stored.seconds) == (None, None, None, None)


@given(TRIALS, st.integers(0, 99))
def test_a_preempted_trial_is_entered_again_as_it_was(trial: Trial, index: int):
    first = _through_json(schema.waiting(trial, index))
    first.frozen.number = 5
    again = _through_json(schema.waiting_again(first))
    assert (again.trial, again.plan_index) == (trial, index)
    assert again.frozen.user_attrs[schema.REPLACES] == 5


def test_the_form_on_disk_is_that_of_the_versions_before():
    schedule: Schedule = Constant(max_lr=0.5)
    waiting = schema.waiting(Trial({"max_lr": 0.5}, 1, 2, "r", schedule, keep=True), 3)
    planned = {"seed": 1, "epochs": 2, "role": "r", "keep": True, "schedule": schedule.to_dict()}
    assert waiting.user_attrs == {"planned": planned, "plan_index": 3}
    assert waiting.system_attrs == {"fixed_params": {"max_lr": 0.5}}
    assert schema.planned_attrs(Trial({}, 1, 2))["planned"]["schedule"] is None
    assert schema.planned_attrs(Trial({}, 1, 2, fold=0))["planned"]["fold"] == 0
    assert schema.seat_attrs(Seat(1, 2, 3)) == {"assignment": {"lane": 1, "slot": 2, "tick": 3}}
    assert schema.end_attrs(Outcome.OUT_OF_MEMORY, "why", 4) == {
        "outcome": "out of memory",
        "end_tick": 4,
        "detail": "why",
    }
    assert schema.end_attrs(Outcome.PRUNED, "", None) == {"outcome": "pruned"}
    measured: dict[str, Any] = schema.measured_attrs({"a": 1 / 3, "b": math.inf}, (1 / 3, math.nan))
    assert measured == {"step_losses": [0.3333333, None], "metrics": {"a": 1 / 3, "b": None}}
    assert schema.measured_attrs({}, ()) == {"metrics": {}}


def test_a_schedule_that_is_none_is_the_storages_fault():
    broken = schema.waiting(Trial({}, 1, 2), 0)
    broken.user_attrs["planned"]["schedule"] = {"kind": "nothing"}
    with pytest.raises(ValueError, match=r"a trial's schedule.kind: 'nothing' is unknown"):
        _ = StoredTrial(broken).trial


def test_a_planned_trial_has_no_schedule_until_it_is_assigned():
    with pytest.raises(LookupError, match="recipe"):
        _ = Trial({}, 1, 2).schedule
    assert Trial({}, 1, 2, own_schedule=Constant(max_lr=0.5)).schedule == Constant(max_lr=0.5)
