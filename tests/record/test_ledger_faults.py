"""The ledger and lanes that die, vanish, or do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage

from lab.record.carry_over import copy_stages, go_on
from lab.record.folder import Record
from lab.record.ledger import Ledger
from lab.record.trials import TrialRow, read_trials
from lab.spec.exchange import Report
from lab.spec.plan import Job, Recipe, SearchPlan, Store, TaskRef, Training
from lab.spec.space import Float, Space
from lab.spec.trial import Outcome, Trial


@pytest.fixture
def job(tmp_path: Any) -> Job:
    return Job(
        stage="explore",
        folder=tmp_path,
        task=TaskRef("digits"),
        space=Space(max_lr=Float(1e-4, 1.0, log=True)),
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 64),
        direction="maximize",
        metric="accuracy",
        seed=1,
        width=4,
        lanes=2,
        plan=SearchPlan({"kind": "random"}, {"kind": "none"}, trials=6, epochs=3),
        max_failed_share=1.0,
    )


def _report(trial: int, epoch: int, outcome: Outcome | None = None) -> Report:
    return Report(trial, epoch, {"accuracy": 0.1 * epoch}, outcome)


def _rows(job: Job) -> list[TrialRow]:
    return read_trials(Record(job.folder), job.stage)


# -- a lane that is lost -----------------------------------------------------------------------------------------


def test_another_lane_goes_on_with_the_trial_of_a_lost_one(job: Job) -> None:
    ledger = Ledger(job)
    (assignment,) = ledger.next(0, 0, (2,)).assignments
    ledger.report(0, 0, (_report(assignment.number, 1),))
    ledger.checkpoint(0, b"state of lane 0")
    ledger.lost(0)
    (moved,) = ledger.next(1, 5, (1,)).assignments
    assert moved == replace(assignment, slot=1, tick=5, state=b"state of lane 0")
    assert not ledger.report(0, 1, (_report(assignment.number, 2),))[0].keep, "what the lost lane still says"
    assert [row.curve for row in _rows(job)] == [{1: pytest.approx(0.1)}]
    ledger.report(1, 6, (_report(assignment.number, 3, Outcome.COMPLETED),))
    (row,) = _rows(job)
    assert (row.number, row.outcome, list(row.curve)) == (assignment.number, Outcome.COMPLETED, [1, 3])
    assert [p.name for p in (job.folder / "lanes").iterdir()] == ["explore-0.safetensors"]


def test_a_lane_that_speaks_again_in_time_loses_nothing(job: Job) -> None:
    ledger = Ledger(job)
    (assignment,) = ledger.next(0, 0, (0,)).assignments
    ledger.lost(0)
    ledger.heard(0)
    assert assignment.number not in [a.number for a in ledger.next(1, 0, (0, 1)).assignments]
    assert ledger.report(0, 0, (_report(assignment.number, 1),))[0].keep


def test_a_moved_trial_outlives_its_new_lane_and_the_ledger(job: Job) -> None:
    ledger = Ledger(job)
    ledger.next(0, 0, (0,))
    ledger.checkpoint(0, b"first")
    ledger.lost(0)
    (moved,) = ledger.next(1, 3, (0,)).assignments
    ledger.attach(0)
    ledger.checkpoint(0, b"of other trials")
    assert ledger.attach(1).running == (moved,)
    ledger.release()
    ledger = Ledger(job)
    assert ledger.attach(1).running == (moved,)
    assert ledger.attach(0).running == ()


def test_a_trial_that_was_moved_and_did_not_go_on_waits_longer_for_its_lane(job: Job) -> None:
    ledger = Ledger(replace(job, plan=(Trial({"max_lr": 0.1}, 0, 3, "x"),)))
    ledger.next(0, 0, (0,))
    ledger.lost(0, 8.0)
    assert len(ledger.next(1, 0, (0,)).assignments) == 1
    ledger.attach(0)
    ledger.lost(1, 29.0)
    assert ledger.next(0, 0, (0,)).assignments == ()
    ledger.lost(1, 31.0)
    assert len(ledger.next(0, 0, (0,)).assignments) == 1
    ledger.report(0, 0, (_report(0, 1),))
    ledger.attach(1)
    ledger.lost(0, 8.0)
    assert len(ledger.next(1, 1, (0,)).assignments) == 1, "it has gone on since"


def test_a_trial_does_not_return_to_a_lane_that_may_still_train_it(job: Job) -> None:
    ledger = Ledger(replace(job, plan=(Trial({"max_lr": 0.1}, 0, 3, "x"),)))
    (assignment,) = ledger.next(0, 0, (0,)).assignments
    ledger.lost(0)
    ledger.next(1, 0, (0,))
    ledger.heard(0)
    ledger.lost(1)
    assert ledger.next(0, 4, (1,)).assignments == (), "it has not heard yet that the trial was taken from it"
    assert not ledger.report(0, 4, (_report(assignment.number, 1),))[0].keep
    (again,) = ledger.next(0, 5, (1,)).assignments
    assert again.number == assignment.number


def test_lanes_stay_while_another_has_trials_that_they_may_have_to_take_over(job: Job) -> None:
    ledger = Ledger(replace(job, plan=(Trial({"max_lr": 0.1}, 0, 3, "x"),)))
    ledger.next(0, 0, (0,))
    assert not ledger.next(1, 0, (0,)).done
    ledger.report(0, 2, (_report(0, 3, Outcome.COMPLETED),))
    assert ledger.next(1, 1, (0,)).done


def test_trials_of_a_lane_that_is_not_part_of_this_run_go_on_in_another(job: Job) -> None:
    ledger = Ledger(job)
    ledger.next(0, 0, (0,))
    (assignment,) = ledger.next(1, 0, (0,)).assignments
    ledger.checkpoint(1, b"state")
    ledger.release()
    ledger = Ledger(replace(job, lanes=1))
    assert [a.number for a in ledger.attach(0).running] == [0]
    (moved,) = ledger.next(0, 4, (1,)).assignments
    assert (moved.number, moved.trial.seed, moved.state) == (assignment.number, assignment.trial.seed, b"state")


def test_a_stage_that_is_given_up_does_not_wait_for_a_lost_lane(job: Job) -> None:
    ledger = Ledger(replace(job, max_failed_share=0.1))
    ledger.next(1, 0, (0,))
    for tick in range(3):
        (a,) = ledger.next(0, tick, (0,)).assignments
        ledger.report(0, tick, (Report(a.number, 0, {}, Outcome.FAILED, "no"),))
    assert not ledger.progress().finished
    ledger.lost(1)
    assert ledger.progress().finished


# -- a lane that dies --------------------------------------------------------------------------------------------


def _die(ledger: Ledger) -> dict[int, int]:
    return dict(ledger.attach(0, "its process died").suspects)


def test_the_trial_that_kills_its_lane_three_times_is_failed_and_named(job: Job) -> None:
    ledger = Ledger(job)
    ledger.attach(0)
    ledger.next(0, 0, (0, 1, 2))
    ledger.report(0, 0, tuple(_report(n, 1) for n in range(3)))
    assert _die(ledger) == {}
    assert _die(ledger) == {0: 2, 1: 2, 2: 2}, "each has to survive its second epoch alone"
    ledger.trying(0, 0)
    ledger.trying(0, 1)
    attachment = ledger.attach(0, "its process died")
    assert [a.number for a in attachment.running] == [0, 2]
    row = next(r for r in _rows(job) if r.number == 1)
    assert row.outcome is Outcome.FAILED
    assert row.detail == "killed its lane 3 times, the last time alone in it: its process died"


def test_deaths_with_a_finished_epoch_between_accuse_nobody(job: Job) -> None:
    ledger = Ledger(job)
    ledger.attach(0)
    ledger.next(0, 0, (0, 1))
    for epoch in (1, 2):
        assert _die(ledger) == {}
        ledger.report(0, epoch, tuple(_report(n, epoch) for n in range(2)))
    assert _die(ledger) == {}
    ledger.report(0, 2, tuple(_report(n, 2) for n in range(2)))
    assert _die(ledger) != {}, "what is reported again is no progress"


def test_trials_that_kill_a_lane_only_together_get_half_its_slots(job: Job) -> None:
    ledger = Ledger(job)
    ledger.attach(0)
    ledger.next(0, 0, (0, 1, 2, 3))
    _die(ledger)
    assert len(_die(ledger)) == 4
    ledger.trying(0, None)
    attachment = ledger.attach(0, "its process died")
    assert (attachment.width, attachment.running) == (2, ())
    assert ledger.progress().counts == {"preempted": 4}
    ledger.release()
    assert Ledger(job).attach(0).width == 2, "a resumed study knows"


def test_a_resumed_study_does_not_blame_trials_for_its_drivers_death(job: Job) -> None:
    for _ in range(4):
        ledger = Ledger(job)
        assert dict(ledger.attach(0, "its process died").suspects) == {}
        ledger.next(0, 0, (0,))
        ledger.release()


def test_a_lane_that_does_not_fit_into_memory_is_halved_and_its_trials_run_again(job: Job) -> None:
    ledger = Ledger(job)
    first = ledger.next(0, 0, (0, 1, 2, 3)).assignments
    attachment = ledger.shrink(0)
    assert (attachment.width, attachment.running) == (2, ())
    again = ledger.next(0, 1, (0, 1)).assignments
    assert [(a.trial.params, a.trial.seed) for a in again] == [(a.trial.params, a.trial.seed) for a in first[:2]]
    assert ledger.shrink(0).width == 1
    assert ledger.shrink(0).width == 1


def test_what_fits_is_remembered_by_place(job: Job) -> None:
    ledger = Ledger(job)
    for lane, site in enumerate(("a, cpu", "a, cpu", "b, H200")):
        assert ledger.attach(lane, site=site).width is None
    assert ledger.shrink(0).width == 2
    assert ledger.shrink(1).width == 2, "they share the place, and both had four slots"
    assert ledger.shrink(1).width == 1
    assert ledger.attach(2, site="b, H200").width is None
    assert ledger.attach(2, site="a, cpu").width == 1
    ledger.release()
    ledger = Ledger(replace(job, stage="confirm"))
    assert (ledger.attach(0, site="a, cpu").width, ledger.attach(0, site="b, H200").width) == (1, None)
    ledger.release()
    (job.folder / "lanes" / "widths.json").write_text('{"a, cpu": [')
    assert Ledger(job).attach(0, site="a, cpu").width is None


def test_a_place_never_has_more_slots_than_the_job(job: Job) -> None:
    ledger = Ledger(replace(job, stage="bounds", width=16))
    ledger.attach(0, site="a, cpu")
    assert ledger.shrink(0).width == 8
    ledger.release()
    ledger = Ledger(job)
    assert ledger.attach(0, site="a, cpu").width == 4
    assert ledger.shrink(0).width == 2


def test_a_lane_that_comes_to_a_narrower_place_gives_back_what_it_has_no_slots_for(job: Job) -> None:
    ledger = Ledger(job)
    ledger.attach(1, site="narrow")
    ledger.shrink(1)
    ledger.attach(0, site="wide")
    assignments = ledger.next(0, 0, (0, 1, 2, 3)).assignments
    attachment = ledger.attach(0, "", site="narrow")
    assert (attachment.width, attachment.running) == (2, assignments[:2])
    again = ledger.next(1, 0, (0, 1)).assignments
    assert [(a.trial.params, a.trial.seed) for a in again] == [(a.trial.params, a.trial.seed) for a in assignments[2:]]
    assert ledger.progress().counts == {"preempted": 2}


# -- a driver that dies between two writes to a database, which has no transaction over both ---------------------------


class _Killed(BaseException):
    pass


def _killed_instead_of(monkeypatch: pytest.MonkeyPatch, *writes: str) -> list[int]:
    """How many more of these writes to a database there will be, the last of which is not done; to be set."""
    left = [0]

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise _Killed
            return write(*arguments, **options)

        return call

    for name in writes:
        monkeypatch.setattr(RDBStorage, name, counted(getattr(RDBStorage, name)))
    return left


def _drive(job: Job) -> None:
    """Train what is planned in a single slot; the first trial is preempted once."""
    ledger = Ledger(job)
    try:
        attachment = ledger.attach(0)
        tick, running = attachment.tick, list(attachment.running)
        while True:
            if not running:
                work = ledger.next(0, tick, (0,))
                running = list(work.assignments)
            if not running:
                assert work.done
                return
            (trial,) = running
            if "preempted" not in ledger.progress().counts:
                ledger.close(trial.number, Outcome.PREEMPTED, "node lost")
            else:
                ledger.report(0, tick, (_report(trial.number, 1, Outcome.COMPLETED),))
            running, tick = [], tick + 1
    finally:
        ledger.release()


@pytest.mark.slow
def test_a_driver_killed_after_any_write_to_a_database_loses_nothing_that_was_planned(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(max_lr=Float(1e-4, 1.0, log=True), momentum=Float(0.5, 0.99))
    planned = tuple(Trial({"max_lr": 0.1 * n, "momentum": 0.9}, n, 1, "r") for n in (1, 2))
    writes = ("create_new_trial", "set_trial_param", "set_trial_user_attr", "set_trial_state_values")
    left = _killed_instead_of(monkeypatch, *writes, "set_trial_intermediate_value")
    most = 1
    while left[0] <= 0:
        store = Store(f"sqlite:///{tmp_path}/{most}.db", "mine")
        one = replace(job, space=space, plan=planned, width=1, lanes=1, store=store, folder=tmp_path / str(most))
        one.folder.mkdir()
        left[0] = most
        try:
            _drive(one)
        except _Killed:
            _drive(one)
        rows = [row for row in read_trials(Record(one.folder), job.stage, store) if row.outcome is Outcome.COMPLETED]
        trained = sorted((row.trial.seed, row.params) for row in rows)
        assert trained == [(p.seed, p.params) for p in planned], f"killed instead of write {most}"
        most += 1
    assert most > 20, "there are so many writes at least"


def _whole(job: Job, store: Store) -> list[tuple[Any, ...]]:
    rows = read_trials(Record(job.folder), job.stage, store)
    return [(r.number, r.params, r.outcome, r.score, r.trial.seed, r.curve) for r in rows]


def test_trials_copied_by_a_driver_that_was_killed_after_any_write_are_copied_anew(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Store(f"sqlite:///{tmp_path}/team.db", "old")
    ledger = Ledger(replace(job, store=old))
    for trial, slot in enumerate((0, 1, 2)):
        ledger.next(0, trial, (slot,))
        ledger.report(0, trial, (_report(trial, 3, Outcome.COMPLETED),))
    ledger.release()
    trials = _whole(job, old)
    assert len(trials) == 3
    left = _killed_instead_of(monkeypatch, "create_new_study", "set_study_user_attr", "create_new_trial")
    killed = 0
    while left[0] <= 0:
        new = Store(old.url, f"new {killed}")
        left[0] = killed + 1
        try:
            copy_stages(job.folder, old, new, ("bounds", "explore"))
        except _Killed:
            copy_stages(job.folder, old, new, ("bounds", "explore"))
        assert _whole(job, new) == trials, f"killed instead of write {killed + 1}"
        killed += 1
    assert killed > 5
    left[0] = 0  # nobody is killed any more
    # Until somebody goes on with a copy, it may be one of a study that has more trials meanwhile.
    ledger = Ledger(replace(job, store=old))
    ledger.next(0, 3, (3,))
    ledger.release()
    copy_stages(job.folder, old, new, ("explore",))
    assert _whole(job, new) == _whole(job, old) != trials
    go_on(job.folder, new, ("explore",), ())
    ledger = Ledger(replace(job, store=new))
    ledger.report(0, 4, (_report(3, 3, Outcome.COMPLETED),))
    ledger.release()
    longer = _whole(job, new)
    copy_stages(job.folder, old, new, ("explore",))
    assert _whole(job, new) == longer != _whole(job, old)
