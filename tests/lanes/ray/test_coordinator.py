"""The coordinator: who speaks for a lane, who is lost, who hangs. Its clock is the test's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import TaskError
from lab.lanes.ray.coordinator import SILENT_S, Coordinator, Standing
from lab.spec.exchange import Report
from lab.spec.trial import Outcome, Trial
from tests.lanes.test_engines import job, rows

A, B = {"node": "a"}, {"node": "b"}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def coordinator(clock: Clock, tmp_path: Path) -> Any:
    coordinator = Coordinator(2, hang_s=100.0, clock=clock)
    plan = tuple(Trial({"max_lr": 0.01, "cycles": 1, "dropout": 0.1}, i, 3, "x") for i in range(4))
    coordinator.run(job(tmp_path, plan=plan, lanes=2, width=2))
    yield coordinator
    coordinator.end_stage()


def ticket(coordinator: Coordinator) -> int:
    order = coordinator.order(0, 99, "nobody")
    assert order is not None
    return order[0]


def enter(coordinator: Coordinator, lane: int, token: str, site: dict[str, Any] = A, **extra: Any) -> Any:
    coordinator.hello(lane, token, {**site, **extra})
    return coordinator.call(ticket(coordinator), lane, token, "attach").value


def work(coordinator: Coordinator, lane: int, token: str, tick: int = 0, free: tuple[int, ...] = (0,)) -> Any:
    return coordinator.call(ticket(coordinator), lane, token, "next", tick, free).value.assignments


def test_a_lane_that_comes_when_its_stage_is_over_touches_nothing(tmp_path: Path) -> None:
    coordinator = Coordinator(0, 100.0)
    coordinator.hello(1, "t", A)
    coordinator.run(job(tmp_path / "s", stage="bounds"))
    late = ticket(coordinator)
    coordinator.end_stage()
    coordinator.run(job(tmp_path / "s", stage="explore"))
    for method, arguments in (("attach", ()), ("next", (0, (0,))), ("report", (0, ())), ("leave", ())):
        assert coordinator.call(late, 1, "t", method, *arguments).standing is Standing.OVER  # type: ignore[arg-type]
    look = coordinator.look()
    assert look.progress is not None
    assert look.progress.running == 0
    coordinator.end_stage()


def test_what_a_replaced_process_says_is_refused(coordinator: Coordinator, tmp_path: Path) -> None:
    enter(coordinator, 0, "old")
    (assignment,) = work(coordinator, 0, "old")
    attachment = enter(coordinator, 0, "new", B)
    assert [a.number for a in attachment.running] == [assignment.number]
    report = (Report(assignment.number, 1, {"accuracy": 0.9}),)
    assert coordinator.call(ticket(coordinator), 0, "old", "report", 0, report).standing is Standing.REPLACED
    assert coordinator.beat(0, "old") is Standing.REPLACED
    assert coordinator.order(0, 0, "old") == (1, "leave", None)
    assert rows(tmp_path)[0].curve == {}
    assert coordinator.call(ticket(coordinator), 0, "new", "report", 0, report).value[0].keep


def test_a_silent_lane_is_lost_and_its_trials_run_elsewhere(coordinator: Coordinator, clock: Clock) -> None:
    enter(coordinator, 0, "a")
    enter(coordinator, 1, "b", B)
    (assignment,) = work(coordinator, 0, "a")
    clock.now += SILENT_S + 1
    coordinator.beat(1, "b")
    look = coordinator.look()
    assert [lane["state"] for lane in look.lanes] == ["lost", "working"]
    assert [a.number for a in work(coordinator, 1, "b")] == [assignment.number]
    answer = coordinator.call(
        ticket(coordinator), 0, "a", "report", 0, (Report(assignment.number, 1, {"accuracy": 0.5}),)
    )
    assert answer.standing is Standing.HEARD, "it goes on with what is left to it"
    assert not answer.value[0].keep


def test_a_lane_that_beats_is_not_lost_however_long_its_epoch(coordinator: Coordinator, clock: Clock) -> None:
    enter(coordinator, 0, "a")
    work(coordinator, 0, "a")
    for _ in range(20):
        clock.now += SILENT_S - 1
        assert coordinator.beat(0, "a") is Standing.HEARD
        look = coordinator.look()
        assert look.lanes[0]["state"] == "working"


def test_a_hung_lane_is_ended_once_after_the_stated_time(coordinator: Coordinator, clock: Clock) -> None:
    enter(coordinator, 0, "a", handle="handle of a")
    work(coordinator, 0, "a")
    clock.now += 99.0
    coordinator.beat(0, "a")
    assert coordinator.look().hung == ()
    clock.now += 2.0
    coordinator.beat(0, "a")
    assert coordinator.look().hung == ("handle of a",)
    assert coordinator.look().hung == ()


def test_what_takes_long_as_a_rule_is_no_hang(coordinator: Coordinator, clock: Clock) -> None:
    enter(coordinator, 0, "a", handle="handle of a")
    (assignment,) = work(coordinator, 0, "a")
    clock.now += 50.0
    coordinator.call(ticket(coordinator), 0, "a", "report", 0, (Report(assignment.number, 1, {"accuracy": 0.5}),))
    clock.now += 999.0
    coordinator.beat(0, "a")
    assert coordinator.look().hung == ()
    clock.now += 2.0
    coordinator.beat(0, "a")
    assert coordinator.look().hung == ("handle of a",)


def test_a_trial_that_hangs_three_times_is_failed_and_named(
    coordinator: Coordinator, clock: Clock, tmp_path: Path
) -> None:
    enter(coordinator, 0, "0")
    (assignment,) = work(coordinator, 0, "0")
    for count in range(1, 4):
        clock.now += 101.0
        coordinator.beat(0, str(count - 1))
        assert len(coordinator.look().hung) == 1
        attachment = enter(coordinator, 0, str(count))
        if attachment.suspects:
            coordinator.call(ticket(coordinator), 0, str(count), "trying", assignment.number)
    row = rows(tmp_path)[assignment.number]
    assert row.outcome is Outcome.FAILED
    assert row.detail == "killed its lane 3 times, the last time alone in it: nothing was finished for 101 s"


def test_a_process_that_ends_by_itself_says_why(coordinator: Coordinator, tmp_path: Path) -> None:
    enter(coordinator, 0, "0")
    (assignment,) = work(coordinator, 0, "0")
    for count in range(1, 4):
        coordinator.dying(0, str(count - 1), "CUDA error: device-side assert triggered")
        coordinator.dying(0, "another's", "no matter")
        attachment = enter(coordinator, 0, str(count))
        if attachment.suspects:
            coordinator.call(ticket(coordinator), 0, str(count), "trying", assignment.number)
    detail = "killed its lane 3 times, the last time alone in it: CUDA error: device-side assert triggered"
    assert rows(tmp_path)[assignment.number].detail == detail


def test_a_lane_that_comes_back_on_another_node_accuses_no_trial(coordinator: Coordinator) -> None:
    enter(coordinator, 0, "0", A)
    work(coordinator, 0, "0")
    for count in range(1, 6):
        assert dict(enter(coordinator, 0, str(count), {"node": str(count)}).suspects) == {}


def test_a_lane_that_never_gets_to_work_ends_the_engine(coordinator: Coordinator) -> None:
    for count in range(10):
        assert coordinator.look().fatal == ""
        enter(coordinator, 0, str(count))
    enter(coordinator, 0, "last")
    assert coordinator.look().fatal == "lane 0 died 10 times in a row and never finished an epoch (its process died)"


def test_a_lane_that_cannot_work_at_all_says_why(coordinator: Coordinator) -> None:
    coordinator.hello(0, "a", A)
    coordinator.broken(0, "a", TaskError("my.py: has no 'Task'"))
    assert coordinator.look().fatal == "lane 0 on a: my.py: has no 'Task'"


def test_lanes_that_join_later_are_welcome(coordinator: Coordinator) -> None:
    coordinator.hello(3, "x", B)
    order = coordinator.order(0, 3, "x")
    assert order is not None
    assert order[2].lanes == 4, "of two that were there at first"
    enter(coordinator, 3, "late")
    assert len(work(coordinator, 3, "late")) == 1


def test_all_have_left_when_only_lost_lanes_have_not(coordinator: Coordinator, clock: Clock) -> None:
    enter(coordinator, 0, "a")
    enter(coordinator, 1, "b")
    coordinator.call(ticket(coordinator), 0, "a", "leave")
    assert not coordinator.look().all_left
    clock.now += SILENT_S + 1
    assert coordinator.look().all_left


def test_trials_of_a_lane_that_a_smaller_cluster_never_places_run_elsewhere(
    coordinator: Coordinator, clock: Clock, tmp_path: Path
) -> None:
    enter(coordinator, 1, "b")
    (assignment,) = work(coordinator, 1, "b")
    coordinator.end_stage()
    smaller = Coordinator(2, 100.0, clock=clock)
    plan = tuple(Trial({"max_lr": 0.01, "cycles": 1, "dropout": 0.1}, i, 3, "x") for i in range(4))
    smaller.run(job(tmp_path, plan=plan, lanes=2, width=2))
    enter(smaller, 0, "a")
    smaller.look()
    assert assignment.number not in [a.number for a in work(smaller, 0, "a")], "it may yet come"
    clock.now += 21.0
    smaller.beat(0, "a")
    smaller.look()
    assert [a.number for a in work(smaller, 0, "a", tick=1, free=(1,))] == [assignment.number]
    smaller.end_stage()


def test_while_the_ledger_is_busy_no_lane_is_lost(
    coordinator: Coordinator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(coordinator, 0, "a")
    enter(coordinator, 1, "b")
    assert coordinator._ledger is not None
    slow = coordinator._ledger.next

    def next_(*arguments: Any) -> Any:
        clock.now += 60.0  # a fit of the forest
        return slow(*arguments)

    monkeypatch.setattr(coordinator._ledger, "next", next_)
    work(coordinator, 0, "a")
    assert [lane["state"] for lane in coordinator.look().lanes] == ["working", "working"]


def test_the_probe_is_one_lanes_and_another_takes_it_when_that_dies(tmp_path: Path) -> None:
    coordinator = Coordinator(0, 100.0)
    coordinator.hello(0, "a", A)
    coordinator.hello(1, "b", A)
    coordinator.ask("probe", replace(job(tmp_path)), 4)
    assert coordinator.order(0, 0, "a") is not None
    assert coordinator.order(0, 1, "b") is None
    coordinator.hello(0, "new", A)
    assert coordinator.order(0, 1, "b") is not None
    coordinator.set_finding("a", TaskError("late"))
    assert coordinator.finding() is None


def test_a_request_to_stop_reaches_idle_lanes_too(coordinator: Coordinator) -> None:
    enter(coordinator, 0, "a")
    coordinator.stop()
    assert coordinator.call(ticket(coordinator), 0, "a", "next", 0, ()).stopping


def test_a_trial_that_kills_its_lanes_is_found_out_however_slowly_they_start(clock: Clock, tmp_path: Path) -> None:
    """Each time, the other lane would take it over before the one that it killed can say so."""
    plan = (Trial({"max_lr": 0.01, "cycles": 1, "dropout": 0.1}, 0, 3, "x"),)
    coordinator = Coordinator(0, hang_s=1e9, clock=clock)
    coordinator.run(job(tmp_path, plan=plan, lanes=2, width=1, max_failed_share=1.0))
    start_s = SILENT_S + 4
    processes: dict[int, str] = {}
    ready = {0: 0.0, 1: 0.0}
    kills = 0
    while kills < 20 and not coordinator.look().progress.finished:  # type: ignore[union-attr]
        clock.now += 1
        for lane in (0, 1):
            if lane in processes:
                coordinator.beat(lane, processes[lane])
                assignments = work(coordinator, lane, processes[lane])
            elif clock.now >= ready[lane]:
                processes[lane] = f"{lane} at {clock.now}"
                attachment = enter(coordinator, lane, processes[lane])
                assignments = attachment.running
                for suspect in attachment.suspects:
                    coordinator.call(ticket(coordinator), lane, processes[lane], "trying", suspect)
            else:
                continue
            if assignments:
                del processes[lane]
                ready[lane] = clock.now + start_s
                kills += 1
    coordinator.end_stage()
    (row,) = rows(tmp_path)
    assert (row.outcome, kills) == (Outcome.FAILED, 4)
    assert row.detail.startswith("killed its lane 3 times, the last time alone in it")
