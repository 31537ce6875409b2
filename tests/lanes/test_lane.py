"""A lane and what a user's code does to it, without a cluster."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from lab.errors import EngineError
from lab.lanes.lane import Lane, read_checkpoint
from lab.lanes.local import LocalEngine
from lab.lanes.output import OutputBudget
from lab.record.ledger import Ledger
from lab.spec.plan import Job, TaskRef, Training
from lab.spec.trial import Outcome, Trial
from lab.stages.job import open_to_cycles
from lab.training.snapshots import pack
from tests.lanes.test_engines import SPACE, job, rows, table

TASKS = """
import sys, torch, weakref
from lab.tasks.digits import Digits

class Large(Digits):
    def loss(self, output, target):
        if output.requires_grad and len(output) > 128:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().loss(output, target)

class LargeOnTheHost(Digits):
    def loss(self, output, target):
        if output.requires_grad and len(output) > 128:
            torch.empty(2**50)
        return super().loss(output, target)

class Buffer:
    pass

class Held(Digits):
    buffers = []

    def model(self, params):
        if any(ref() is not None for ref in self.buffers):
            raise ValueError("what ran out of memory is still there")
        return super().model(params)

    def loss(self, output, target):
        if output.requires_grad and len(output) > 128:
            buffer = Buffer()
            Held.buffers.append(weakref.ref(buffer))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().loss(output, target)

class TooLarge(Digits):
    def loss(self, output, target):
        raise torch.OutOfMemoryError("CUDA out of memory")

class NoRoom(Digits):
    # Memory ends when the third model is made, once.
    made = 0

    def model(self, params):
        NoRoom.made += 1
        if NoRoom.made == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().model(params)

class Prints(Digits):
    def model(self, params):
        print("x" * 3_000_000)
        return super().model(params)

class Wider(Digits):
    def model(self, params):
        return torch.nn.Sequential(torch.nn.Linear(64, 40), torch.nn.ReLU(), torch.nn.Linear(40, 10))

class Refuses(Digits):
    def model(self, params):
        if params["dropout"] == 0.1:
            raise ValueError("no such net")
        return super().model(params)

class Talks(Digits):
    def loss(self, output, target):
        raise ValueError("y" * 1_000_000)
"""


@pytest.fixture
def task(tmp_path: Path) -> Any:
    (tmp_path / "faults.py").write_text(TASKS)
    return lambda name: TaskRef(f"faults.py:{name}", {}, str(tmp_path))


def plan(count: int = 6, epochs: int = 1) -> tuple[Trial, ...]:
    return tuple(
        Trial({"max_lr": 0.01, "cycles": 1, "dropout": 0.1}, seed=i, epochs=epochs, role="x") for i in range(count)
    )


def run(folder: Path, **changes: Any) -> Any:
    return LocalEngine(1, lambda progress: True).run(job(folder, **changes))


@pytest.mark.parametrize("name", ["Large", "LargeOnTheHost", "Held"])
def test_out_of_memory_halves_the_width_and_every_trial_still_runs(name: str, task: Any, tmp_path: Path) -> None:
    progress = run(tmp_path / "s", task=task(name), plan=plan(), width=4)
    assert progress.counts == {"preempted": 4, "completed": 6}
    run(tmp_path / "narrow", plan=plan(), width=2)

    def by_plan(folder: Path) -> list[Any]:
        return sorted((r.plan_index, r.score) for r in rows(folder))

    assert by_plan(tmp_path / "s") == by_plan(tmp_path / "narrow")


def test_memory_that_ends_when_a_trial_starts_halves_the_width_too(task: Any, tmp_path: Path) -> None:
    progress = run(tmp_path / "s", task=task("NoRoom"), plan=plan(), width=4)
    assert progress.counts == {"preempted": 4, "completed": 6}
    assert all(r.trial.epochs == 1 for r in rows(tmp_path / "s") if r.outcome is Outcome.COMPLETED)


def test_a_trial_that_does_not_fit_alone_ends_so(task: Any, tmp_path: Path) -> None:
    progress = run(tmp_path / "s", task=task("TooLarge"), plan=plan(2), width=2)
    assert progress.counts == {"preempted": 2, "out of memory": 2}


@pytest.mark.parametrize("name", ["Talks", "Talks:sequential"])
def test_a_gpu_that_fails_every_call_ends_no_trial(
    name: str, task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it did not survive may have been another trial's doing: with its process they go on elsewhere."""

    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    name, _, path = name.partition(":")
    training = replace(job(tmp_path).training, path=path or "stacked")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    with pytest.raises(EngineError, match=r"^nothing can be trained any longer .* illegal memory .* --engine ray"):
        run(tmp_path / "s", task=task(name), plan=plan(2), width=2, training=training)
    monkeypatch.undo()
    assert {row.outcome for row in rows(tmp_path / "s")} == {None}
    assert run(tmp_path / "s", plan=plan(2), width=2, training=training).counts == {"completed": 2}


def test_prints_without_end_are_cut(task: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = run(tmp_path / "s", task=task("Prints"), plan=plan(3))
    assert progress.counts == {"completed": 3}
    out = capsys.readouterr().out
    assert 2**20 < len(out) < 2**20 + 200
    assert out.count("is dropped") == 1


def test_an_endless_message_is_cut_where_it_is_kept(task: Any, tmp_path: Path) -> None:
    run(tmp_path / "s", task=task("Talks"), plan=plan(1), max_failed_share=1.0)
    (row,) = rows(tmp_path / "s")
    assert row.outcome is Outcome.FAILED
    assert 10_000 < len(row.detail) < 20_000
    assert "characters left out" in row.detail


def test_a_budget_is_spent_over_all_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    budget = OutputBudget(10)
    for _ in range(3):
        with budget.bounded():
            sys.stdout.write("12345")
    sys.stdout.write("after\n")
    out = capsys.readouterr().out
    assert out.startswith("1234512345\nlab: ")
    assert out.endswith("after\n")


def test_what_else_is_asked_of_standard_output_is_answered(capfd: pytest.CaptureFixture[str]) -> None:
    with OutputBudget(10).bounded():
        assert sys.stdout.encoding.lower() == "utf-8"
        assert not sys.stdout.isatty()
        assert sys.stdout.writable()
        sys.stdout.buffer.write(b"as bytes\n")
        sys.stdout.buffer.flush()
        subprocess.run([sys.executable, "-c", "print('by a child')"], stdout=sys.stdout, check=True)
        with pytest.raises(TypeError, match="write\\(\\) argument must be str, not bytes"):
            sys.stdout.write(b"x")  # type: ignore[arg-type]
    assert capfd.readouterr().out == "as bytes\nby a child\n"


def keeping(folder: Path, cycles: int, **changes: Any) -> Job:
    """A job of one trial, which leaves as many snapshots as it has cycles."""
    trial = Trial({"max_lr": 0.01, "cycles": cycles, "dropout": 0.1}, seed=0, epochs=6, role="x", keep=True)
    return job(folder, plan=(trial,), space=open_to_cycles(SPACE, (cycles,)), width=1, **changes)


def snapshots(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "final").iterdir()}


class Packed(bytes):
    """A snapshot that is counted while it is in memory."""

    live = most = 0

    def __init__(self, _: bytes) -> None:
        Packed.live += 1
        Packed.most = max(Packed.most, Packed.live)

    def __del__(self) -> None:
        Packed.live -= 1


@pytest.mark.parametrize("cycles", [1, 6])
def test_one_snapshot_of_a_trial_is_in_memory_at_once_however_many_it_leaves(
    cycles: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pack
    monkeypatch.setattr("lab.training.trainer.pack", lambda *arguments: Packed(real(*arguments)))
    monkeypatch.setattr(Packed, "most", 0)
    kept_job = keeping(tmp_path, cycles, checkpoint_s=0.0)
    ledger = Ledger(kept_job)
    sizes: list[int] = []
    monkeypatch.setattr(ledger, "checkpoint", lambda lane, state: sizes.append(len(state)))
    monkeypatch.setattr("lab.lanes.lane._SAVE_EVERY", 0.0)
    lane, written = Lane(0, kept_job, ledger), []
    while lane.tick():
        written.append(len(list((tmp_path / "final").glob("*"))))
    ledger.release()
    assert (Packed.most, Packed.live) == (1, 0)
    assert written[-1] == cycles
    assert written == sorted(written), "each is written when it is taken"
    assert len(set(written)) == (6 if cycles == 6 else 2)
    assert max(sizes) - min(sizes) < 64, "no checkpoint holds those before it; the clock has more digits"


@pytest.mark.parametrize("saved", [False, True])
def test_a_trial_that_is_gone_on_with_has_every_snapshot_with_the_same_bits(saved: bool, tmp_path: Path) -> None:
    whole, split = (keeping(tmp_path / name, 3) for name in ("a", "b"))
    LocalEngine(1, lambda progress: True).run(whole)
    ledger = Ledger(split)
    lane = Lane(0, split, ledger)
    for _ in range(3):
        lane.tick()
    if saved:
        lane.save()
    for _ in range(2):  # to the second snapshot: past what was saved
        lane.tick()
    ledger.release()
    before = snapshots(tmp_path / "b")
    assert sorted(before) == ["0000-0.safetensors", "0000-1.safetensors"]
    ledger = Ledger(split)
    assert snapshots(tmp_path / "b") == before, "they are those of a trial that runs"
    lane = Lane(0, split, ledger)
    while lane.tick():
        pass
    ledger.release()
    assert snapshots(tmp_path / "b") == snapshots(tmp_path / "a")
    assert len(snapshots(tmp_path / "b")) == 3


@pytest.mark.parametrize("content", [None, b"", b"junk", b"\0" * 64])
def test_a_damaged_checkpoint_is_none(content: bytes | None) -> None:
    assert read_checkpoint(content, 0) is None


def test_trials_tried_alone_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    """Two deaths without an epoch between: each trial is tried alone, and the values stay what they were."""
    whole, disturbed = job(tmp_path / "a", plan=plan(3, 4), width=3), job(tmp_path / "b", plan=plan(3, 4), width=3)
    LocalEngine(1, lambda progress: True).run(whole)
    ledger = Ledger(disturbed)
    lane = Lane(0, disturbed, ledger)
    for _ in range(2):
        lane.tick()
    lane.save()

    class Dies:
        """The ledger's face, saying at `attach` that the lane had died before."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def attach(self, lane: int) -> Any:
            attachment = ledger.attach(lane, "its process died")
            seen.append(dict(attachment.suspects))
            return attachment

    seen: list[dict[int, int]] = []
    Lane(0, disturbed, Dies())
    lane = Lane(0, disturbed, Dies())
    assert seen == [{}, {0: 3, 1: 3, 2: 3}]
    while lane.tick():
        pass
    ledger.release()
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_a_trial_goes_on_in_another_lane_where_its_own_had_saved_it(tmp_path: Path) -> None:
    whole, split = job(tmp_path / "a", plan=plan(2, 6), lanes=2), job(tmp_path / "b", plan=plan(2, 6), lanes=2, width=2)
    LocalEngine(2, lambda progress: True).run(whole)
    ledger = Ledger(split)
    first, second = Lane(0, split, ledger), Lane(1, split, ledger)
    for _ in range(3):
        first.tick()
    first.save()
    ledger.lost(0)
    reports: list[int] = []
    real = ledger.report

    def report(lane: int, tick: int, sent: Any) -> Any:
        reports.extend(r.epoch for r in sent)
        return real(lane, tick, sent)

    ledger.report = report  # type: ignore[method-assign]
    while second.tick():
        pass
    assert sorted(reports) == [4, 4, 5, 5, 6, 6], "from the checkpoint on, not from the beginning"
    ledger.release()
    assert [row[1:] for row in table(tmp_path / "a")] == [row[1:] for row in table(tmp_path / "b")]


@pytest.mark.parametrize(("name", "outcome"), [("Wider", Outcome.COMPLETED), ("Refuses", Outcome.FAILED)])
@pytest.mark.parametrize("moved", [False, True])
def test_trials_of_a_model_that_has_changed_begin_again(
    name: str, outcome: Outcome, moved: bool, task: Any, tmp_path: Path
) -> None:
    before, after = (
        job(tmp_path / "s", plan=plan(2, 4), lanes=2, width=2, max_failed_share=1.0, **more)
        for more in ({}, {"task": task(name)})
    )
    ledger = Ledger(before)
    lane = Lane(0, before, ledger)
    for _ in range(2):
        lane.tick()
    lane.save()
    ledger.release()
    ledger = Ledger(after)
    if moved:
        ledger.lost(0)
    lane = Lane(int(moved), after, ledger)
    while lane.tick():
        pass
    ledger.release()
    assert {row.outcome for row in rows(tmp_path / "s")} == {outcome}
    if outcome is Outcome.COMPLETED:
        LocalEngine(1, lambda progress: True).run(replace(after, folder=tmp_path / "anew", lanes=1))
        assert [row.score for row in rows(tmp_path / "s")] == [row.score for row in rows(tmp_path / "anew")]


@pytest.mark.parametrize(("save_s", "pause_s"), [(0.0, 5.0), (0.25, 5.0), (2.0, 20.0)])
def test_saving_has_a_tenth_of_the_time_at_most(
    save_s: float, pause_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock, begun = Clock(), []
    monkeypatch.setattr("lab.lanes.lane.time", clock)
    one_step = Training({"kind": "adamw"}, 1024, "stacked")  # an epoch of it, on the clock a second
    saving = job(tmp_path / "s", plan=plan(1, 64), training=one_step, checkpoint_s=5.0)
    ledger = Ledger(saving)

    def checkpoint(lane: int, state: bytes) -> None:
        begun.append(clock.now)
        clock.now += save_s

    monkeypatch.setattr(ledger, "checkpoint", checkpoint)
    lane = Lane(0, saving, ledger)
    while lane.tick():
        clock.now += 1.0
    ledger.release()
    assert len(begun) >= 3
    for one, next_one in pairwise(begun[1:]):
        assert pause_s < next_one - one - save_s <= pause_s + 1.0
