"""Counts of a stage's trials, kept up to date as they change: a ledger reads them a thousand times a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from optuna.trial import TrialState

from lab.record.trial_schema import StoredTrial
from lab.spec.space import Params
from lab.spec.trial import Outcome


@dataclass(frozen=True)
class _Entry:
    """The contribution of one trial to the counts."""

    storage_id: int
    state: TrialState
    lane: int | None
    outcome: Outcome | None
    epochs_done: int


class Counts:
    """Counts of a stage's trials. Whoever changes a trial in the storage calls `observe`."""

    def __init__(self, direction: Literal["maximize", "minimize"], trials: Iterable[StoredTrial]) -> None:
        self._better = max if direction == "maximize" else min
        self._entries: dict[int, _Entry] = {}
        self._running: dict[int, set[int]] = {}
        self._frontiers: dict[int, int] = {}
        self._states: Counter[TrialState] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.epochs_done = 0
        """Epochs trained by running trials, plus all epochs of ended ones, which need no more."""
        self.best: float | None = None
        self.best_params: Params | None = None
        """Those of the first trial with that score."""
        self.failure = ""
        """The detail of the last failed trial."""
        for trial in trials:
            self.observe(trial)

    def observe(self, trial: StoredTrial) -> None:
        """Count a trial as it is now, instead of as it was."""
        old = self._entries.get(trial.number)
        new = self._entries[trial.number] = _entry(trial)
        if old is not None:
            self._count(trial.number, old, -1)
        self._count(trial.number, new, 1)
        seat = trial.seat
        if seat is not None:
            self._frontiers[seat.lane] = max(self._frontiers.get(seat.lane, 0), seat.tick, trial.end_tick or 0)
        score = trial.score
        if score is not None and (self.best is None or self._better(self.best, score) != self.best):
            self.best, self.best_params = score, trial.params
        if new.outcome == Outcome.FAILED:
            self.failure = trial.detail

    def _count(self, number: int, entry: _Entry, sign: Literal[-1, 1]) -> None:
        self._states[entry.state] += sign
        self.epochs_done += sign * entry.epochs_done
        if entry.outcome is not None:
            self.outcomes[entry.outcome] += sign
        if entry.state == TrialState.RUNNING and entry.lane is not None:
            held = self._running.setdefault(entry.lane, set())
            (held.add if sign > 0 else held.discard)(number)

    def storage_id(self, number: int) -> int:
        """The storage's own id of a trial."""
        return self._entries[number].storage_id

    @property
    def total(self) -> int:
        return len(self._entries)

    @property
    def counted(self) -> int:
        """Number of trials that use up the search's budget: all but the preempted, which run again as others."""
        return self.total - self.outcomes[Outcome.PREEMPTED]

    @property
    def waiting(self) -> int:
        return self._states[TrialState.WAITING]

    def running(self, lane: int) -> list[int]:
        """A lane's running trials, in their order."""
        return sorted(self._running.get(lane, ()))

    def lanes(self) -> set[int]:
        """Lanes that have running trials."""
        return {lane for lane, held in self._running.items() if held}

    def frontier(self, lane: int) -> int:
        """The last tick at which a trial of the lane began or ended."""
        return self._frontiers.get(lane, 0)


def _entry(trial: StoredTrial) -> _Entry:
    outcome, seat = trial.outcome, trial.seat
    if outcome is None:
        epochs = len(trial.frozen.intermediate_values)
    else:  # one that ended early needs no more; one that was preempted is counted where it runs again
        epochs = 0 if outcome is Outcome.PREEMPTED else trial.epochs
    return _Entry(trial.frozen._trial_id, trial.state, None if seat is None else seat.lane, outcome, epochs)
