"""The same seed proposes the same trials, whatever lanes, kills and delays do to the order in which trials end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.record.folder import Record
from lab.record.ledger import Ledger
from lab.record.trial_schema import StoredTrial
from lab.record.trials import read_trials
from lab.spec.exchange import Report
from lab.spec.plan import Job, Recipe, SearchPlan, TaskRef, Training, Until
from lab.spec.space import Choice, Float, Int, Params, Space
from lab.spec.trial import Outcome

SPACE = Space(
    max_lr=Float(1e-4, 1.0, log=True), model=Choice(("mlp", "cnn")), depth=Int(1, 4, when={"model": ("cnn",)})
)
EPOCHS = 2
FOREST = SearchPlan({"kind": "forest", "startup": 4}, {}, trials=14, epochs=EPOCHS, concurrency=4)
PLANS = {
    "forest": FOREST,
    "forest with fewer open than it starts with": replace(FOREST, concurrency=3),
    "tpe": replace(FOREST, sampler={"kind": "tpe", "n_startup_trials": 4}),
    "random": replace(FOREST, sampler={"kind": "random"}),
    "until a score": replace(FOREST, sampler={"kind": "random"}, until=Until(target_score=0.9)),
}


def _job(folder: Path, plan: SearchPlan) -> Job:
    return Job(
        stage="explore",
        folder=folder,
        task=TaskRef("digits"),
        space=SPACE,
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 64),
        direction="maximize",
        metric="accuracy",
        seed=1,
        width=4,
        lanes=4,
        plan=plan,
    )


def _report(number: int, params: Params, epoch: int) -> Report:
    """Training as a function of its setting: some end early, in every way that a lane reports."""
    rate = float(params["max_lr"])
    score = 1 - abs(rate - 0.03) - 0.1 * (params["model"] == "mlp") - 0.1 / epoch
    end = Outcome.COMPLETED if epoch == EPOCHS else None
    if rate > 0.5:
        end = Outcome.DIVERGED
    elif rate < 2e-4:
        end = Outcome.FAILED
    return Report(number, epoch, {"accuracy": score}, end)


@dataclass
class Seat:
    lane: int
    slot: int
    params: Params
    epoch: int = 0


class Machine:
    """Lanes whose pace, kills and preemptions are drawn."""

    def __init__(self, folder: Path, plan: SearchPlan, draw: st.DataObject) -> None:
        self.job, self.draw = _job(folder, plan), draw
        self.ledger = Ledger(self.job)
        self.running: dict[int, Seat] = {}
        self.ticks = [0] * self.job.lanes

    def run(self) -> None:
        for _ in range(400):
            if self.ledger.progress().finished:
                break
            self.draw.draw(st.sampled_from((self.fill, self.fill, self.train, self.train, self.preempt, self.kill)))()
        while not self.ledger.progress().finished:  # what is left, in a steady order
            for lane in range(self.job.lanes):
                self._fill(lane)
            for number in list(self.running):
                self._train(number)
        self.ledger.release()

    def fill(self) -> None:
        self._fill(self.draw.draw(st.integers(0, self.job.lanes - 1)))

    def _fill(self, lane: int) -> None:
        self.ticks[lane] += 1
        taken = {seat.slot for seat in self.running.values() if seat.lane == lane}
        free = tuple(slot for slot in range(self.job.width) if slot not in taken)
        for assignment in self.ledger.next(lane, self.ticks[lane], free).assignments:
            self.running[assignment.number] = Seat(lane, assignment.slot, assignment.trial.params)

    def train(self) -> None:
        if self.running:
            self._train(self.draw.draw(st.sampled_from(sorted(self.running))))

    def _train(self, number: int) -> None:
        seat = self.running[number]
        seat.epoch += 1
        report = _report(number, seat.params, seat.epoch)
        (decision,) = self.ledger.report(seat.lane, self.ticks[seat.lane], (report,))
        if not decision.keep:
            del self.running[number]

    def preempt(self) -> None:
        if self.running and self.draw.draw(st.integers(0, 2)) == 0:
            number = self.draw.draw(st.sampled_from(sorted(self.running)))
            self.ledger.close(number, Outcome.PREEMPTED, "its node was taken back")
            del self.running[number]

    def kill(self) -> None:
        """The driver dies; lanes come back with what they were training, from its beginning."""
        if self.draw.draw(st.integers(0, 4)) == 0:
            self.ledger.release()
            self.ledger = Ledger(self.job)
            for lane in range(self.job.lanes):
                for assignment in self.ledger.attach(lane).running:
                    assert self.running[assignment.number].params == assignment.trial.params
                    self.running[assignment.number].epoch = 0


def _proposals(folder: Path) -> list[tuple[Any, ...]]:
    """Setting, seed and outcome of each trial, in the order of the proposals."""
    by_turn: dict[int, tuple[Any, ...]] = {}
    turns: dict[int, int] = {}
    for stored in _stored(folder):
        turn = turns[stored.number] = len(by_turn) if stored.replaces is None else turns[stored.replaces]
        by_turn[turn] = (stored.params, stored.trial.seed, stored.outcome, stored.score)
    return list(by_turn.values())


def _stored(folder: Path) -> list[StoredTrial]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(Record(folder).journal_path)))
    return [StoredTrial(trial) for trial in optuna.load_study(study_name="explore", storage=storage).trials]


def _one_after_the_other(folder: Path, plan: SearchPlan) -> list[tuple[Any, ...]]:
    """One lane of one slot, undisturbed."""
    ledger = Ledger(replace(_job(folder, plan), lanes=1, width=1))
    for tick in range(100):
        for assignment in ledger.next(0, tick, (0,)).assignments:
            reports = (_report(assignment.number, assignment.trial.params, epoch + 1) for epoch in range(EPOCHS))
            while ledger.report(0, tick, (next(reports),))[0].keep:
                pass
    assert ledger.progress().finished
    ledger.release()
    return _proposals(folder)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    folder = tmp_path_factory.mktemp("expected")
    return {name: _one_after_the_other(folder / name, plan) for name, plan in PLANS.items()}


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(draw=st.data())
def test_any_order_of_ends_gives_the_same_proposals(
    expected: dict[str, list[tuple[Any, ...]]], name: str, draw: st.DataObject
):
    with tempfile.TemporaryDirectory() as folder:
        Machine(Path(folder), PLANS[name], draw).run()
        assert _proposals(Path(folder)) == expected[name]


def test_what_they_are_held_against_has_trials_of_every_outcome(expected: dict[str, list[tuple[Any, ...]]]):
    outcomes = {outcome for proposals in expected.values() for _, _, outcome, _ in proposals}
    assert outcomes == {Outcome.COMPLETED, Outcome.DIVERGED, Outcome.FAILED}
    assert len(expected["until a score"]) < len(expected["random"]) == FOREST.trials
    assert expected["forest"] != expected["forest with fewer open than it starts with"]


def test_a_search_begun_without_an_order_is_made_from_whatever_has_finished(tmp_path: Path):
    plan = replace(FOREST, concurrency=None)
    ledger = Ledger(_job(tmp_path, plan))
    assert len(ledger.next(0, 0, tuple(range(10))).assignments) == 10
    ledger.release()
    assert len(read_trials(Record(tmp_path), "explore")) == 10


def test_no_more_are_open_than_may_be_and_a_lane_that_waits_is_not_sent_away(tmp_path: Path):
    plan = replace(FOREST, sampler={"kind": "forest", "startup": 0})
    ledger = Ledger(_job(tmp_path, plan))
    first = ledger.next(0, 0, tuple(range(10)))
    assert len(first.assignments) == 4
    waiting = ledger.next(1, 0, (0,))
    assert waiting.assignments == ()
    assert not waiting.done
    ledger.release()
