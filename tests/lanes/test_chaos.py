"""Everything goes wrong at random moments, in one process and on the test's clock: coordinator, ledger, journal and
lanes are the real ones, only processes and network are played. `studies/benchmarks/chaos.py` does the same to a real
cluster."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from lab.lanes.lane import Lane
from lab.lanes.local import LocalEngine
from lab.lanes.ray.coordinator import SILENT_S, Coordinator, Standing
from lab.record.folder import Record
from lab.spec.plan import Job, SearchPlan, TaskRef
from lab.tasks.digits import Digits
from tests.lanes.test_engines import job, rows

LANES = 3


class _Over(Exception):  # noqa: N818 - no error
    """The coordinator does not listen to this process any more."""


class Crowded(Digits):
    """Digits on a machine that runs out of memory when told to."""

    full = False

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if self.full:
            self.full = False
            raise MemoryError
        return super().loss(output, target)


class _Process:
    """A lane's process: its token, and the lane in it."""

    def __init__(self, world: World, number: int, node: str) -> None:
        self.number, self.token = number, f"{number}-{world.random.random()}"
        self._coordinator = world.coordinator
        world.coordinator.hello(number, self.token, {"node": node})
        self.silent = False
        order = world.coordinator.order(0, number, self.token)
        assert order is not None
        self.ticket = order[0]
        self.lane = Lane(number, world.job, self)

    def _call(self, method: Any, *arguments: Any) -> Any:
        answer = self._coordinator.call(self.ticket, self.number, self.token, method, *arguments)
        if answer.standing is not Standing.HEARD:
            raise _Over
        return answer.value

    def attach(self, lane: int) -> Any:
        return self._call("attach")

    def next(self, lane: int, tick: int, free: tuple[int, ...]) -> Any:
        return self._call("next", tick, free)

    def report(self, lane: int, tick: int, reports: Any) -> Any:
        return self._call("report", tick, reports)

    def checkpoint(self, lane: int, state: bytes) -> None:
        self._call("checkpoint", state)

    def trying(self, lane: int, trial: int | None) -> None:
        self._call("trying", trial)

    def shrink(self, lane: int) -> Any:
        return self._call("shrink")


def _train_to_the_end(lane: Lane) -> None:
    while lane.tick():
        pass


class World:
    """A cluster of three lanes, and what happens to it."""

    def __init__(self, job: Job, seed: int) -> None:
        self.random = random.Random(seed)
        self.job = job
        self.now = 0.0
        self.faults: Counter[str] = Counter()
        self.processes: dict[int, _Process] = {}
        self.ghosts: list[_Process] = []
        """Processes that were cut off and replaced, and still run."""
        self._drive()

    def _drive(self) -> None:
        """A driver starts: a coordinator, and a process for each lane."""
        self.coordinator = Coordinator(0, 1e9, clock=lambda: self.now)
        self.coordinator.run(self.job)
        for number in range(LANES):
            self._start(number)

    def _start(self, number: int) -> None:
        # On another node each time: what dies here are machines, and trials are not to blame.
        self.processes[number] = _Process(self, number, str(self.random.random()))

    def finished(self) -> bool:
        progress = self.coordinator.look().progress
        assert progress is not None
        return progress.finished

    def step(self) -> None:
        """One lane trains an epoch; the others are heard of."""
        self.now += 1.0
        for process in self.processes.values():
            if not process.silent:
                self.coordinator.beat(process.number, process.token)
        awake = [p for p in self.processes.values() if not p.silent]
        if awake:
            self.random.choice(awake).lane.tick()

    def fault(self) -> None:
        number = self.random.randrange(LANES)
        process = self.processes[number]
        happen = {
            "lane killed": lambda: self._start(number),
            "lane saves": process.lane.save,
            "lane cut off": lambda: setattr(process, "silent", True),
            "lane cut off and replaced": lambda: (self.ghosts.append(process), self._start(number)),
            "lanes heard again": self._thaw,
            "ghost speaks": self._haunt,
            "out of memory": self._fill_memory,
            "driver killed": lambda: self._kill_driver(torn=False),
            "driver killed, journal torn": lambda: self._kill_driver(torn=True),
        }
        weights = [6, 6, 4, 3, 4, 3, 1, 1, 1]
        if process.silent and not self.random.randrange(3):
            self.now += SILENT_S
        name = self.random.choices(list(happen), weights)[0]
        if name == "lane saves" and process.silent:
            return
        happen[name]()
        self.faults[name] += 1

    def _fill_memory(self) -> None:
        """Once: a lane of one slot has none to give up, and its trial would end."""
        task, progress = self.job.task.instance, self.coordinator.look().progress
        assert isinstance(task, Crowded)
        assert progress is not None
        task.full = "preempted" not in progress.counts

    def _thaw(self) -> None:
        for process in self.processes.values():
            process.silent = False

    def _haunt(self) -> None:
        for ghost in self.ghosts:
            with pytest.raises(_Over):
                _train_to_the_end(ghost.lane)
        self.ghosts = []

    def _kill_driver(self, torn: bool) -> None:
        self.coordinator.end_stage()  # what it held is let go of, as the kernel does it
        self.ghosts = []
        if torn:
            with open(Record(self.job.folder).journal_path, "ab") as file:
                file.write(b'{"op_code":7,"trial_id":0,"st')
        self._drive()


def _said(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Record(folder).journal_path.read_bytes().splitlines()]


def _epochs(said: list[dict[str, Any]]) -> Counter[tuple[int, int]]:
    return Counter((log["trial_id"], log["step"]) for log in said if log["op_code"] == 7)


def _results(folder: Path, replaces: Mapping[int, int]) -> dict[int, Any]:
    """By the number that a trial was first proposed with."""

    def first(number: int) -> int:
        return first(replaces[number]) if number in replaces else number

    return {first(r.number): (r.params, r.outcome, r.score, r.curve) for r in rows(folder)}


@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_every_trial_ends_once_and_as_if_undisturbed(seed: int, tmp_path: Path) -> None:
    plan = SearchPlan({"kind": "random"}, {}, 30, 4)
    task = TaskRef("digits", instance=Crowded())  # its data are read once, and not by each process anew
    work = job(tmp_path / "chaos", plan=plan, lanes=LANES, width=2, task=task)
    world = World(work, seed)
    seen: set[tuple[int, int]] = set()
    for step in range(2000):
        if world.finished():
            break
        world.step()
        if world.random.random() < 0.6:
            world.fault()
        if step % 20 == 0:
            now = _epochs(_said(work.folder)).keys()
            assert seen <= now, "a finished epoch is gone"
            seen = set(now)
        if step % 40 == 0:
            world._thaw()
    assert world.finished()
    world.coordinator.end_stage()
    assert sum(world.faults.values()) >= 25, world.faults
    said = _said(work.folder)
    made = [log.get("user_attrs", {}) for log in said if log["op_code"] == 4]
    replaces = {number: attrs["replaces"] for number, attrs in enumerate(made) if "replaces" in attrs}
    assert replaces, "nothing ran out of memory"
    alone = replace(work, folder=tmp_path / "alone", lanes=1, plan=replace(plan, trials=30 + len(replaces)))
    LocalEngine(1, lambda progress: True).run(alone)
    results, undisturbed = _results(work.folder, replaces), _results(alone.folder, {})
    assert results == {number: undisturbed[number] for number in results}
    ended = Counter(log["trial_id"] for log in said if log["op_code"] == 6 and log["state"] in (1, 2, 3))
    assert set(_epochs(said).values()) == {1}
    assert set(ended.values()) == {1}
    assert (len(results), len(ended)) == (30, 30 + len(replaces))
