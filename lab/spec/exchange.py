"""What travels between the ledger and its lanes: assignments, reports, decisions, checkpoints. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lab.spec.trial import Outcome, Trial


@dataclass(frozen=True)
class Assignment:
    """A trial handed to a slot of a lane, to start when the lane's clock of epochs shows `tick`."""

    number: int
    trial: Trial
    slot: int
    tick: int
    state: bytes | None = field(default=None, repr=False)
    """The checkpoint of the lane that lost this trial, to go on from; None for one that begins."""


@dataclass(frozen=True)
class Report:
    """What a lane says of one trial after an epoch; with an `outcome`, that the trial has ended."""

    number: int
    epoch: int
    """Epochs trained so far, so the first report says 1."""
    metrics: Mapping[str, float]
    outcome: Outcome | None = None
    detail: str = ""
    step_losses: tuple[float, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Name to content of what the trial leaves behind (snapshots); written before the trial is closed."""


@dataclass(frozen=True)
class Decision:
    """Whether a trial goes on, and why."""

    number: int
    keep: bool
    reason: str


@dataclass(frozen=True)
class Work:
    """Answer to a lane that has free slots."""

    assignments: tuple[Assignment, ...]
    done: bool
    """Nothing will come any more: a lane without running trials may leave."""


@dataclass(frozen=True)
class Attachment:
    """Where a lane begins, at first or after a restart."""

    tick: int
    running: tuple[Assignment, ...]
    checkpoint: bytes | None
    width: int | None = None
    """Slots that fit into memory here, where that is known to be fewer than the job's width."""
    suspects: Mapping[int, int] = field(default_factory=dict)
    """Trials of which one may have killed the lane, and the epoch that each has to survive alone first."""


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: str
    planned: int
    counts: Mapping[str, int]
    running: int
    epochs_done: int
    epochs_planned: int
    best: float | None
    finished: bool
    abort: str = ""
    """Why the stage cannot go on; empty while it can."""
    repeated: int = 0
    """Epochs reported again, since the ledger was opened: what was trained twice."""

    @property
    def closed(self) -> int:
        return sum(n for outcome, n in self.counts.items() if outcome != Outcome.PREEMPTED)


class LedgerFace(Protocol):
    """What a lane needs of a ledger, whether it is called directly or across a cluster."""

    def attach(self, lane: int) -> Attachment: ...

    def next(self, lane: int, tick: int, free: tuple[int, ...]) -> Work: ...

    def report(self, lane: int, tick: int, reports: tuple[Report, ...]) -> tuple[Decision, ...]: ...

    def checkpoint(self, lane: int, state: bytes) -> None: ...

    def trying(self, lane: int, trial: int | None) -> None:
        """The lane now trains one suspect alone; None: all of them have been tried."""

    def shrink(self, lane: int) -> Attachment:
        """The lane's slots do not fit into memory: its trials wait again, and half as many slots remain."""
