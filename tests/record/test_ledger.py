"""The ledger: whatever happens, the storage tells one story, and a new ledger goes on with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import lab.record.ledger
from lab.errors import RecordError, SpecError
from lab.record.folder import Record
from lab.record.ledger import Ledger
from lab.record.trials import read_trials
from lab.schedules import Constant, OneCycle
from lab.spec.exchange import Assignment, Report
from lab.spec.plan import Job, Recipe, SearchPlan, Store, TaskRef, Training
from lab.spec.space import Choice, Float, FromBounds, Int, Space
from lab.spec.trial import Outcome, Trial

SPACE = Space(
    max_lr=Float(1e-4, 1.0, log=True), model=Choice(("mlp", "cnn")), depth=Int(1, 4, when={"model": ("cnn",)})
)
RANDOM = SearchPlan({"kind": "random"}, {"kind": "none"}, trials=6, epochs=3)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        stage="explore",
        folder=tmp_path,
        task=TaskRef("digits"),
        space=SPACE,
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 64),
        direction="maximize",
        metric="accuracy",
        seed=1,
        width=2,
        lanes=1,
        plan=RANDOM,
    )


def _report(trial: int, epoch: int, score: float | None = 0.5, outcome: Outcome | None = None, **more: Any) -> Report:
    return Report(trial, epoch, {} if score is None else {"accuracy": score}, outcome, **more)


def _optuna_study(job: Job) -> optuna.Study:
    return optuna.load_study(
        study_name=job.stage, storage=JournalStorage(JournalFileBackend(str(Record(job.folder).journal_path)))
    )


def _states(job: Job) -> list[str]:
    return [t.state.name for t in _optuna_study(job).trials]


# -- handing out -------------------------------------------------------------------------------------------------


def test_a_trial_is_handed_out_once_and_within_the_space(job: Job):
    ledger = Ledger(job)
    first, second = ledger.next(0, 0, (0, 1)).assignments
    assert (first.number, first.slot, second.number, second.slot) == (0, 0, 1, 1)
    assert first.trial.seed != second.trial.seed
    for assignment in (first, second):
        assert 1e-4 <= assignment.trial.params["max_lr"] <= 1.0
        assert assignment.trial.schedule == OneCycle(max_lr=float(assignment.trial.params["max_lr"]))
        assert ("depth" in assignment.trial.params) == (assignment.trial.params["model"] == "cnn")
    assert {a.number for a in ledger.next(0, 0, (0,)).assignments} == {2}


def test_nothing_is_proposed_beyond_the_budget(job: Job):
    ledger = Ledger(job)
    handed = [a for tick in range(9) for a in ledger.next(0, tick, (0, 1, 2, 3)).assignments]
    assert [a.number for a in handed] == list(range(6))
    work = ledger.next(0, 9, (0,))
    assert work.assignments == ()
    assert work.done
    assert not ledger.progress().finished, "six are running"
    ledger.report(0, 9, tuple(_report(a.number, 3, outcome=Outcome.COMPLETED) for a in handed))
    assert ledger.progress().finished
    assert ledger.progress().epochs_done == ledger.progress().epochs_planned == 18


def test_a_conditional_space_is_searched_where_it_exists(job: Job):
    plan = replace(RANDOM, sampler={"kind": "forest", "startup": 4}, trials=14)
    ledger = Ledger(replace(job, plan=plan))
    for tick in range(14):
        (assignment,) = ledger.next(0, tick, (0,)).assignments
        assert ("depth" in assignment.trial.params) == (assignment.trial.params["model"] == "cnn")
        ledger.report(0, tick, (_report(assignment.number, 3, 0.1 * tick, Outcome.COMPLETED),))
    assert {t.user_attrs["outcome"] for t in _optuna_study(job).trials} == {"completed"}


def test_planned_trials_are_handed_out_in_order_with_what_was_planned(job: Job):
    params = {"max_lr": 0.1, "model": "mlp"}
    planned = tuple(Trial(params, seed, 5, f"role {seed}", Constant(max_lr=0.5), keep=True) for seed in (7, 8))
    ledger = Ledger(replace(job, plan=planned))
    assert [a.trial for a in ledger.next(0, 0, (0, 1, 2)).assignments] == list(planned)
    assert [row.trial.role for row in read_trials(Record(job.folder), job.stage)] == ["role 7", "role 8"]


def test_unresolved_bounds_are_refused(job: Job):
    with pytest.raises(SpecError, match="stage 'bounds' has to run first"):
        Ledger(replace(job, space=Space(max_lr=FromBounds())))


# -- reports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.PREEMPTED])
def test_a_trial_ends_in_the_state_of_its_outcome(job: Job, outcome: Outcome):
    ledger = Ledger(job)
    (assignment,) = ledger.next(0, 0, (0,)).assignments
    ledger.report(0, 0, (_report(assignment.number, 1, 0.25),))
    (decision,) = ledger.report(0, 1, (_report(assignment.number, 2, 0.75, outcome, detail="why"),))
    assert not decision.keep
    assert decision.reason == "why"
    (trial,) = _optuna_study(job).trials
    expected = {Outcome.COMPLETED: "COMPLETE", Outcome.PRUNED: "PRUNED"}.get(outcome, "FAIL")
    assert trial.state.name == expected
    assert trial.user_attrs["outcome"] == str(outcome)
    assert trial.intermediate_values == {1: 0.25, 2: 0.75}
    (row,) = read_trials(Record(job.folder), job.stage)
    assert (row.outcome, row.detail, row.curve) == (outcome, "why", {1: 0.25, 2: 0.75})
    assert row.score == (0.75 if outcome is Outcome.COMPLETED else None)


def test_a_repeated_report_changes_nothing(job: Job):
    ledger = Ledger(job)
    (assignment,) = ledger.next(0, 0, (0,)).assignments
    for _ in range(2):
        (decision,) = ledger.report(0, 0, (_report(assignment.number, 1, 0.25),))
        assert decision.keep
        (decision,) = ledger.report(0, 0, (_report(assignment.number, 1, 0.99),))
        assert decision.keep
    assert _optuna_study(job).trials[0].intermediate_values == {1: 0.25}
    end = _report(assignment.number, 3, 0.5, Outcome.COMPLETED)
    assert not ledger.report(0, 2, (end,))[0].keep
    content = Record(job.folder).journal_path.read_bytes()
    (again,) = ledger.report(0, 5, (replace(end, metrics={"accuracy": 0.9}),))
    assert (again.keep, again.reason) == (False, "already closed")
    assert Record(job.folder).journal_path.read_bytes() == content


def test_a_repeated_report_is_not_pruned_with_what_was_learnt_since(job: Job):
    pruner = {"kind": "optuna:MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 0}
    ledger = Ledger(replace(job, plan=replace(RANDOM, pruner=pruner)))
    slow, *fast = ledger.next(0, 0, (0, 1, 2)).assignments
    assert ledger.report(0, 0, (_report(slow.number, 1, 0.1),))[0].keep
    for assignment in fast:
        ledger.report(0, 0, (_report(assignment.number, 1, 0.9),))
        ledger.report(0, 1, (_report(assignment.number, 2, 0.9),))
        ledger.report(0, 2, (_report(assignment.number, 3, 0.9, Outcome.COMPLETED),))
    assert ledger.report(0, 0, (_report(slow.number, 1, 0.1),))[0].keep, "a lane that replays"
    (decision,) = ledger.report(0, 1, (_report(slow.number, 2, 0.1),))
    assert (decision.keep, decision.reason) == (False, "pruned after epoch 2")
    assert _states(job)[slow.number] == "PRUNED"


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf"), None])
def test_a_score_that_is_no_number_is_a_diverged_trial(job: Job, score: float | None):
    ledger = Ledger(job)
    ledger.next(0, 0, (0,))
    assert ledger.report(0, 0, (_report(0, 1, score),))[0].keep, "it may recover"
    ledger.report(0, 1, (_report(0, 2, score, Outcome.COMPLETED),))
    (row,) = read_trials(Record(job.folder), job.stage)
    assert (row.outcome, row.score, row.curve) == (Outcome.DIVERGED, None, {})
    assert str(score) in row.detail


def test_a_report_from_a_lane_that_lost_the_trial_is_not_taken(job: Job):
    ledger = Ledger(replace(job, lanes=2))
    ledger.next(0, 0, (0,))
    (decision,) = ledger.report(1, 0, (_report(0, 1, 0.5),))
    assert not decision.keep
    assert _optuna_study(job).trials[0].intermediate_values == {}


def test_losses_are_kept_short_and_finite_and_metrics_as_precise_as_the_score(job: Job):
    ledger = Ledger(job)
    ledger.next(0, 0, (0, 1))
    ledger.report(0, 0, (_report(0, 1, 1 / 3, Outcome.COMPLETED, step_losses=(1 / 3, float("nan"))),))
    ledger.report(0, 0, (_report(1, 1, float("nan"), Outcome.DIVERGED),))
    row, diverged = read_trials(Record(job.folder), job.stage)
    assert row.step_losses == [0.3333333, None]
    assert row.metrics == {"accuracy": row.score} == {"accuracy": 1 / 3}
    assert diverged.metrics == {"accuracy": None}


def test_every_metric_of_an_epoch_is_kept_where_it_is_asked_for(job: Job):
    for folder, keeps in (("kept", True), ("left", False)):
        (job.folder / folder).mkdir()
        ledger = Ledger(replace(job, folder=job.folder / folder, epoch_metrics=keeps))
        ledger.attach(0)
        ledger.next(0, 0, (0,))
        for epoch in (1, 2, 2):  # a lane that replays reports again
            report = Report(0, epoch, {"accuracy": epoch / 4, "train_loss": 1 / epoch if epoch == 1 else float("inf")})
            ledger.report(0, epoch - 1, (report,))
        ledger.report(0, 2, (_report(0, 3, 0.75, Outcome.COMPLETED),))
        ledger.release()
        (row,) = read_trials(Record(job.folder / folder), "explore")
        assert row.epoch_metrics == (
            {
                1: {"accuracy": 0.25, "train_loss": 1.0},
                2: {"accuracy": 0.5, "train_loss": None},
                3: {"accuracy": 0.75},
            }
            if keeps
            else {}
        )
        assert row.curve == {1: 0.25, 2: 0.5, 3: 0.75}


# -- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_preempted_trial_waits_again_and_names_the_old(job: Job):
    ledger = Ledger(job)
    first = ledger.next(0, 0, (0, 1)).assignments[0]
    ledger.report(0, 0, (_report(0, 1),))
    ledger.close(0, Outcome.PREEMPTED, "node lost")
    old, _, new = _optuna_study(job).trials
    assert (old.state.name, old.user_attrs["outcome"], old.user_attrs["detail"]) == ("FAIL", "preempted", "node lost")
    assert (new.state.name, new.user_attrs["replaces"]) == ("WAITING", 0)
    again = ledger.next(0, 1, (0,)).assignments[0]
    assert (again.number, again.trial) == (2, first.trial)
    handed = [a.number for tick in range(2, 9) for a in ledger.next(0, tick, (0,)).assignments]
    assert handed == [3, 4, 5, 6], "six trials beside the preempted one"
    rows = read_trials(Record(job.folder), job.stage)
    assert [r.number for r in rows] == [2, 1, 3, 4, 5, 6], "the one that ran again keeps its turn"


def test_a_preempted_trial_keeps_its_place_in_the_plan(job: Job):
    planned = tuple(Trial({"max_lr": 0.1, "model": "mlp"}, seed, 1, "r") for seed in range(3))
    ledger = Ledger(replace(job, plan=planned))
    ledger.next(0, 0, (0, 1, 2))
    ledger.close(1, Outcome.PREEMPTED)
    ledger.release()
    ledger = Ledger(replace(job, plan=planned))
    assert [a.trial.seed for a in ledger.next(0, 1, (1, 2)).assignments] == [1]
    rows = read_trials(Record(job.folder), job.stage)
    assert {row.trial.seed: row.plan_index for row in rows} == {0: 0, 1: 1, 2: 2}
    ledger.release()


def test_closing_twice_changes_nothing(job: Job):
    ledger = Ledger(job)
    ledger.next(0, 0, (0,))
    ledger.close(0, Outcome.FAILED, "first")
    ledger.close(0, Outcome.PREEMPTED, "second")
    assert [t.user_attrs["detail"] for t in _optuna_study(job).trials] == ["first"]


def test_the_study_stops_when_too_large_a_share_has_failed(job: Job):
    ledger = Ledger(replace(job, max_failed_share=0.5))
    for tick in range(3):
        assert ledger.progress().abort == ""
        (assignment,) = ledger.next(0, tick, (0,)).assignments
        ledger.report(
            0, tick, (_report(assignment.number, 0, None, Outcome.FAILED, detail="Traceback\nValueError: no"),)
        )
    assert ledger.progress().abort == (
        "3 of 6 trials failed, the last with: ValueError: no (search.max_failed_share is 0.5; when that is mended, go "
        f"on by: lab study extend {job.folder} --trials +6)"
    )
    work = ledger.next(0, 3, (0,))
    assert (work.assignments, work.done) == ((), True)
    assert ledger.progress().finished


def test_diverged_trials_do_not_stop_the_study(job: Job):
    ledger = Ledger(replace(job, max_failed_share=0.1))
    for tick in range(6):
        ledger.next(0, tick, (0,))
        ledger.report(0, tick, (_report(tick, 1, None, Outcome.DIVERGED),))
    assert ledger.progress().abort == ""
    assert ledger.progress().counts == {"diverged": 6}


def test_two_ledgers_on_one_folder_are_refused(job: Job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lab.record.ledger, "_WAIT_S", 0.0)
    first = Ledger(job)
    with pytest.raises(RecordError, match="in use by the ledger of stage 'explore'"):
        Ledger(job)
    first.release()
    Ledger(job).release()


@pytest.mark.parametrize("line", [b'{"op_code":0}', b'{"op_code":99}'])
def test_a_damaged_journal_is_refused_in_one_line(job: Job, line: bytes):
    Record(job.folder).journal_path.write_bytes(line + b"\n")
    for read in (lambda: Ledger(job), lambda: read_trials(Record(job.folder), job.stage)):
        with pytest.raises(RecordError, match="is damaged or not this study's") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_stage_that_has_not_run_has_no_trials(job: Job):
    assert read_trials(Record(job.folder), "explore") == []
    Ledger(job).release()
    assert read_trials(Record(job.folder), "confirm") == []


def test_a_database_serves_as_storage(job: Job, tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path}/trials.db", "mine")
    ledger = Ledger(replace(job, store=store))
    ledger.next(0, 0, (0,))
    ledger.report(0, 0, (_report(0, 3, 0.5, Outcome.COMPLETED),))
    ledger.release()
    assert [row.score for row in read_trials(Record(job.folder), job.stage, store)] == [0.5]
    other = Store(store.url, "another's")
    assert read_trials(Record(job.folder), job.stage, other) == []
    Ledger(replace(job, store=other)).release()
    assert [row.score for row in read_trials(Record(job.folder), job.stage, store)] == [0.5]
    assert "sqlite" not in repr(store), "a URL may hold a password"
    assert not Record(job.folder).journal_path.exists()


def test_a_database_that_cannot_be_opened_is_one_line_without_its_url(job: Job):
    with pytest.raises(RecordError, match=r"^storage: the nix database cannot be opened") as caught:
        Ledger(replace(job, store=Store("nix://user:secret@host/x", "mine")))
    assert "secret" not in str(caught.value)


def test_a_planned_trial_has_the_parameters_it_was_planned_with(job: Job):
    space = Space(cycles=Choice((1, 5)), max_lr=Float(0.01, 0.1), width=Choice((8, 32), when={"cycles": (1,)}))
    settings: list[dict[str, Any]] = [{"cycles": 5, "max_lr": 0.05, "width": 32}, {"cycles": 1, "max_lr": 0.05}]
    plan = tuple(Trial(params, 0, 1, "x") for params in settings)
    ledger = Ledger(replace(job, space=space, plan=plan))
    assert [a.trial.params for a in ledger.next(0, 0, (0, 1)).assignments] == settings


def test_a_pruner_that_raises_ends_the_stage_with_its_reason(job: Job):
    pruner = {"kind": "optuna:PatientPruner", "wrapped_pruner": "MedianPruner", "patience": 1}
    ledger = Ledger(replace(job, plan=replace(RANDOM, pruner=pruner)))
    ledger.next(0, 0, (0,))
    for epoch in range(1, 5):
        assert ledger.report(0, epoch, (_report(0, epoch, 1 / epoch),))[0].keep
    assert "the pruner failed with AttributeError" in ledger.progress().abort


def test_a_sampler_that_raises_ends_the_stage_with_its_reason(job: Job):
    plan = SearchPlan({"kind": "optuna:BruteForceSampler"}, {}, 4, 1)
    ledger = Ledger(replace(job, plan=plan))
    assert ledger.next(0, 0, (0,)).done
    assert "the sampler failed with ValueError" in ledger.progress().abort


# -- going on after a kill -----------------------------------------------------------------------------------------


def test_attach_gives_a_lane_its_running_trials_and_its_checkpoint(job: Job):
    ledger = Ledger(job)
    assert ledger.attach(0) == lab.record.ledger.Attachment(0, (), None)
    handed = ledger.next(0, 0, (0, 1)).assignments
    ledger.checkpoint(0, b"state")
    ledger.release()
    ledger = Ledger(job)
    assert ledger.attach(0) == lab.record.ledger.Attachment(0, handed, b"state")
    assert ledger.next(0, 0, (0,)).assignments != (), "a slot that is free at the same tick"
    ledger.report(0, 2, tuple(_report(n, 3, outcome=Outcome.COMPLETED) for n in range(3)))
    attachment = ledger.attach(0)
    assert (attachment.tick, attachment.running, attachment.checkpoint) == (3, (), None)
    assert ledger.next(0, 2, (0,)).assignments == (), "before the tick at which the last trial ended"


class _Killed(BaseException):
    pass


class _Lane:
    """A lane that trains nothing: a trial's curve and end follow from its assignment."""

    def __init__(self, ledger: Ledger, width: int, count: Callable[[], None]) -> None:
        self._ledger, self._width, self._count = ledger, width, count
        attachment = ledger.attach(0)
        self._tick = attachment.tick
        self._waiting = list(attachment.running)
        self._running: dict[int, tuple[Assignment, int]] = {}

    def run(self) -> None:
        while True:
            for a in [a for a in self._waiting if a.tick <= self._tick]:
                self._waiting.remove(a)
                self._running[a.slot] = (a, 0)
            taken = set(self._running) | {a.slot for a in self._waiting}
            done = False
            if free := tuple(slot for slot in range(self._width) if slot not in taken):
                work = self._ledger.next(0, self._tick, free)
                self._count()
                done = work.done
                self._running |= {a.slot: (a, 0) for a in work.assignments}
            if not self._running and not self._waiting and done:
                return
            self._epoch()
            self._tick += 1

    def _epoch(self) -> None:
        reports = []
        for slot, (assignment, epoch) in sorted(self._running.items()):
            self._running[slot] = (assignment, epoch + 1)
            reports.append(self._outcome(assignment, epoch + 1))
        for decision in self._ledger.report(0, self._tick, tuple(reports)) if reports else ():
            if not decision.keep:
                self._running = {s: r for s, r in self._running.items() if r[0].number != decision.number}
        self._count()

    @staticmethod
    def _outcome(assignment: Assignment, epoch: int) -> Report:
        lr = float(assignment.trial.params["max_lr"])
        if lr > 0.02 and epoch == 2:
            return _report(assignment.number, epoch, None, Outcome.DIVERGED)
        last = epoch == assignment.trial.epochs
        score = (lr + 0.01 * assignment.number) * epoch
        return _report(assignment.number, epoch, score, Outcome.COMPLETED if last else None)


def _table(job: Job) -> list[Any]:
    rows = read_trials(Record(job.folder), job.stage)
    return [(r.number, r.params, r.outcome, r.score, r.trial.seed, r.curve, r.metrics, r.detail) for r in rows]


def _run_killed_after(job: Job, operations: int | None) -> int:
    """Run a job to its end, the first time only up to a number of ledger calls; how many there were."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == operations:
            raise _Killed

    for _ in range(2):
        ledger = Ledger(job)
        try:
            _Lane(ledger, job.width, count).run()
        except _Killed:
            continue
        finally:
            ledger.release()
    return done


@pytest.mark.parametrize(
    "plan",
    [
        replace(RANDOM, sampler={"kind": "forest", "startup": 3}),
        replace(RANDOM, sampler={"kind": "tpe", "n_startup_trials": 2}),
        replace(RANDOM, sampler={"kind": "qmc"}),
        replace(RANDOM, trials=8, pruner={"kind": "optuna:MedianPruner", "n_startup_trials": 1}),
        replace(RANDOM, trials=12, pruner={"kind": "forest", "startup": 2, "share": 0.1}),
        tuple(Trial({"max_lr": 0.015 * n, "model": "mlp"}, n, n, "r") for n in range(1, 5)),
    ],
    ids=["forest", "tpe", "qmc", "random, pruned", "random, pruned by the forest", "planned"],
)
def test_a_kill_after_any_operation_leads_to_the_same_trials(job: Job, plan: Any, tmp_path: Path):
    jobs = functools.partial(replace, job, plan=plan)
    undisturbed = jobs(folder=tmp_path / "whole")
    undisturbed.folder.mkdir()
    operations = _run_killed_after(undisturbed, None)
    expected = _table(undisturbed)
    assert {row[2] for row in expected} > {Outcome.COMPLETED}, "also others"
    for kill in range(1, operations):
        killed = jobs(folder=tmp_path / f"killed {kill}")
        killed.folder.mkdir()
        _run_killed_after(killed, kill)
        assert _table(killed) == expected, f"killed after operation {kill}"


def test_handing_out_looks_at_no_other_trial_unless_one_waits(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(job, plan=SearchPlan({"kind": "random"}, {}, 8, 3))
    ledger = Ledger(job)
    looked: list[object] = []
    real = JournalStorage.get_all_trials

    def look(*arguments: Any, **more: Any) -> Any:
        looked.append(more.get("states"))
        return real(*arguments, **more)

    monkeypatch.setattr(JournalStorage, "get_all_trials", look)
    first = ledger.next(0, 0, (0, 1, 2, 3)).assignments
    assert not looked
    ledger.close(first[0].number, Outcome.PREEMPTED)
    (again,) = ledger.next(0, 1, (0,)).assignments
    assert looked
    assert again.trial == first[0].trial
