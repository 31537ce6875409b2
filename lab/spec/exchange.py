"""The values that travel between the ledger and its lanes: assignments, reports, decisions, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lab.spec.space import Params
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
    """A lane's report on one trial after an epoch. One with an `outcome` says that the trial has ended."""

    number: int
    epoch: int
    """Epochs trained so far, so the first report says 1."""
    metrics: Mapping[str, float]
    outcome: Outcome | None = None
    detail: str = ""
    step_losses: tuple[float, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files that the trial leaves behind (snapshots), name to content: those of this epoch. They are written before
    anything of the report is."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """What was counted of the trial's model, the same at every epoch."""


@dataclass(frozen=True)
class Decision:
    """The ledger's decision whether a trial goes on, and the reason."""

    number: int
    keep: bool
    reason: str


@dataclass(frozen=True)
class Work:
    """The answer to a lane that has free slots."""

    assignments: tuple[Assignment, ...]
    done: bool
    """Whether nothing more will come, so that a lane without running trials may leave."""


@dataclass(frozen=True)
class Attachment:
    """The state in which a lane begins, at first or after a restart."""

    tick: int
    running: tuple[Assignment, ...]
    checkpoint: bytes | None
    width: int | None = None
    """Slots that fit into memory here, where a lane has run out of it before."""
    suspects: Mapping[int, int] = field(default_factory=dict)
    """Trials that may have killed the lane, with the epoch that each has to survive alone first."""


@dataclass(frozen=True)
class Progress:
    """The progress of a stage."""

    stage: str
    planned: int
    counts: Mapping[str, int]
    running: int
    epochs_done: int
    epochs_planned: int
    best: float | None
    finished: bool
    abort: str = ""
    """The reason why the stage cannot go on; empty while it can."""
    repeated: int = 0
    """Epochs that were trained twice and reported again, since the ledger was opened."""
    best_params: Params | None = None
    """The hyperparameters of the trial that has the best score."""

    @property
    def closed(self) -> int:
        return sum(n for outcome, n in self.counts.items() if outcome != Outcome.PREEMPTED)


class LedgerFace(Protocol):
    """The part of a ledger that a lane calls, directly or across a cluster."""

    def attach(self, lane: int) -> Attachment: ...

    def next(self, lane: int, tick: int, free: tuple[int, ...]) -> Work: ...

    def report(self, lane: int, tick: int, reports: tuple[Report, ...]) -> tuple[Decision, ...]: ...

    def checkpoint(self, lane: int, state: bytes) -> None: ...

    def trying(self, lane: int, trial: int | None) -> None:
        """Note that the lane trains one suspect alone. None: all of them have been tried."""

    def shrink(self, lane: int) -> Attachment:
        """Halve a lane whose slots do not fit into memory. Its trials wait again."""
