"""The record keeps the snapshots of trials that run or have completed, and of no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import RecordError
from lab.record.journal import TransactionalJournal
from lab.record.ledger import Ledger
from lab.record.snapshots import Snapshots, snapshots_in, snapshots_of
from lab.spec.exchange import Report
from lab.spec.plan import Job, Recipe, SearchPlan, TaskRef, Training
from lab.spec.snapshot_file import snapshot_file, snapshot_of
from lab.spec.space import Float, Space
from lab.spec.trial import Outcome, Trial


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        stage="final",
        folder=tmp_path,
        task=TaskRef("digits"),
        space=Space(max_lr=Float(1e-4, 1.0, log=True)),
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 64),
        direction="maximize",
        metric="accuracy",
        seed=1,
        width=2,
        lanes=2,
        plan=tuple(Trial({"max_lr": 0.1}, seed, 3, "x", keep=True) for seed in range(2)),
        max_failed_share=1.0,
    )


def _report(trial: int, epoch: int, outcome: Outcome | None = None, content: bytes = b"weights") -> Report:
    name = f"final/{snapshot_file(trial, epoch - 1)}"
    return Report(trial, epoch, {"accuracy": 0.1 * epoch}, outcome, files={name: content})


def _names(job: Job) -> list[str]:
    return sorted(path.name for path in (job.folder / "final").glob("*"))


@pytest.fixture
def ledger(job: Job) -> Ledger:
    """Both trials have finished their first epoch and left a snapshot."""
    ledger = Ledger(job)
    ledger.next(0, 0, (0, 1))
    ledger.report(0, 0, (_report(0, 1), _report(1, 1)))
    return ledger


def test_a_name_tells_trial_and_order():
    for trial, index in ((0, 0), (7, 11), (12345, 3)):
        assert snapshot_of(snapshot_file(trial, index)) == (trial, index)
    for name in ("linear.skops", "0001.safetensors", "0001-a.safetensors", ".0001-0.safetensors.x.part"):
        assert snapshot_of(name) is None


def test_a_trials_snapshots_come_in_the_order_in_which_they_were_taken(tmp_path: Path):
    for name in ("0001-10", "0001-9", "0010-0", "10001-0", "notes"):
        (tmp_path / f"{name}.safetensors").touch()
    assert [path.stem for path in snapshots_of(tmp_path, 1)] == ["0001-9", "0001-10"]
    assert [trial for trial, _ in snapshots_in(tmp_path)] == [1, 1, 10, 10001]
    assert snapshots_in(tmp_path / "none") == []


def test_each_is_there_when_its_epoch_is(job: Job, ledger: Ledger):
    assert _names(job) == ["0000-0.safetensors", "0001-0.safetensors"]
    assert (job.folder / "final/0000-0.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.FAILED, Outcome.OUT_OF_MEMORY])
def test_a_trial_that_came_to_nothing_leaves_none(outcome: Outcome, job: Job, ledger: Ledger):
    ledger.report(0, 1, (Report(0, 2, {}, outcome), _report(1, 2)))
    assert _names(job) == ["0001-0.safetensors", "0001-1.safetensors"]


def test_one_that_completed_without_a_score_leaves_none(job: Job, ledger: Ledger):
    ledger.report(0, 1, (replace(_report(0, 3, Outcome.COMPLETED), metrics={}),))
    assert _names(job) == ["0001-0.safetensors"]


def test_one_that_begins_again_leaves_none_of_its_first_time(job: Job, ledger: Ledger):
    ledger.shrink(0)
    assert _names(job) == []


def test_a_lane_that_lost_a_trial_writes_none_of_it(job: Job, ledger: Ledger):
    ledger.lost(0)
    (moved, *_) = ledger.next(1, 0, (0, 1)).assignments
    ledger.report(0, 1, (_report(moved.number, 1, content=b"of the lost lane"), _report(moved.number, 2)))
    assert _names(job) == ["0000-0.safetensors", "0001-0.safetensors"]
    assert (job.folder / "final" / snapshot_file(moved.number, 0)).read_bytes() == b"weights"
    ledger.report(1, 1, (_report(moved.number, 3, Outcome.COMPLETED),))
    ledger.report(1, 1, (_report(moved.number, 3, content=b"again"),))
    assert (job.folder / "final" / snapshot_file(moved.number, 2)).read_bytes() == b"weights"


class _Killed(BaseException):
    pass


def _dies_at(point: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any) -> None:
        raise _Killed

    monkeypatch.setattr(point, name, dies)


def test_a_ledger_killed_before_a_trials_end_is_written_has_deleted_nothing(
    job: Job, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        _dies_at(TransactionalJournal, "_write", patch)
        with pytest.raises(_Killed):
            ledger.report(0, 1, (Report(0, 2, {}, Outcome.FAILED, "for now"),))
    ledger.release()
    again = Ledger(job)
    assert [a.number for a in again.attach(0).running] == [0, 1]
    assert _names(job) == ["0000-0.safetensors", "0001-0.safetensors"], "it goes on from a checkpoint, perhaps"


def test_what_a_killed_ledger_left_is_swept_and_what_is_needed_stays(
    job: Job, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    ledger.report(0, 1, (_report(1, 3, Outcome.COMPLETED),))
    with monkeypatch.context() as patch:
        _dies_at(Snapshots, "delete", patch)
        with pytest.raises(_Killed):
            ledger.report(0, 2, (Report(0, 2, {}, Outcome.FAILED, "for good"),))
    ledger.release()
    for name in ("0009-0.safetensors", "linear.skops"):
        (job.folder / "final" / name).touch()
    assert "0000-0.safetensors" in _names(job)
    Ledger(job)
    assert _names(job) == ["0001-0.safetensors", "0001-2.safetensors", "linear.skops"]


def _search(job: Job) -> Job:
    return replace(job, stage="explore", plan=SearchPlan({"kind": "random"}, {"kind": "none"}, trials=2, epochs=3))


def _other_seeds(job: Job) -> Job:
    return replace(job, plan=tuple(Trial({"max_lr": 0.1}, seed, 3, "x", keep=True) for seed in (8, 9)))


@pytest.mark.parametrize(("then", "left"), [(_search, 2), (_other_seeds, 0)])
def test_only_a_stage_that_keeps_weights_sweeps_and_all_of_another_plans(
    then: Callable[[Job], Job], left: int, job: Job, ledger: Ledger
):
    ledger.release()
    other = Ledger(then(job))
    assert len(_names(job)) == left
    other.next(0, 0, (0, 1))
    other.report(0, 0, (Report(0, 1, {}, Outcome.FAILED, "no"),))
    assert len(_names(job)) == left


def test_a_full_disk_records_nothing_of_the_epoch(job: Job, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise RecordError("no room")

    monkeypatch.setattr("lab.record.snapshots.write_bytes", full)
    with pytest.raises(RecordError, match="no room"):
        ledger.report(0, 1, (Report(0, 2, {"accuracy": 0.3}), _report(1, 2)))
    assert ledger.progress().epochs_done == 2
