"""What a study has cost: trainings, epochs, and the time for which machines trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.record.trials import TrialRow
from lab.spec.execution import ExecutionSpec

_MINUTE_S, _HOUR_S = 60.0, 3600.0


@dataclass(frozen=True)
class Cost:
    """Everything that was trained."""

    trainings: int
    epochs: int
    """But for those of the range tests, which are parts of one."""
    training_s: float = 0.0
    """Wall time during which any trial trained; pauses are not in it, nor is what a study does between its stages."""
    lanes: int = 1
    gpus: float = 0.0
    """GPUs that the lanes have together."""

    @property
    def line(self) -> str:
        """All of it as a line of text."""
        counted = f"{self.trainings} trainings, {self.epochs} epochs"
        if not self.training_s:
            return counted
        lanes = "1 lane" if self.lanes == 1 else f"{self.lanes} lanes"
        gpus = f", {duration(self.gpus * self.training_s)} of a GPU" if self.gpus else ""
        return f"{counted}; {duration(self.training_s)} of training on {lanes}{gpus}"


@dataclass(frozen=True)
class StageCost:
    """What one stage has trained."""

    stage: str
    trainings: int
    epochs: int
    training_s: float


def cost_by_stage(trials: Mapping[str, Sequence[TrialRow]]) -> tuple[StageCost, ...]:
    """What the trials of each stage have cost, of the stages that have trained any."""
    return tuple(
        StageCost(stage, len(rows), _epochs(stage, rows), _covered_s(rows)) for stage, rows in trials.items() if rows
    )


def _epochs(stage: str, rows: Sequence[TrialRow]) -> int:
    """A range test has no curve, as it trains a part of an epoch; where a refit has none, its plan stands for it."""
    return sum(max(row.curve, default=row.trial.epochs if stage == "refit" else 0) for row in rows)


def cost_of(trials: Mapping[str, Sequence[TrialRow]], execution: ExecutionSpec) -> Cost:
    """What the trials of all stages have cost on the lanes that a study has now."""
    every = [row for of_stage in trials.values() for row in of_stage]
    epochs = sum(_epochs(stage, rows) for stage, rows in trials.items())
    lanes = execution.lanes if isinstance(execution.lanes, int) else 1
    return Cost(len(every), epochs, _covered_s(every), lanes, lanes * execution.gpus_per_lane)


def _covered_s(rows: Iterable[TrialRow]) -> float:
    """Length of the union of the times at which trials trained. Slots of a lane train at the same time."""
    spans = sorted(
        (row.ended_at - row.seconds, row.ended_at)
        for row in rows
        if row.ended_at is not None and row.seconds is not None
    )
    covered, until = 0.0, float("-inf")
    for begin, end in spans:
        covered += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return covered


def duration(seconds: float) -> str:
    """A time as people say it, to two digits or whole.

    >>> duration(7.26), duration(150.0), duration(9000.0)
    ('7.3 s', '2.5 minutes', '2.5 hours')
    """
    value, unit = seconds, "s"
    if seconds >= 2 * _HOUR_S:
        value, unit = seconds / _HOUR_S, "hours"
    elif seconds >= 2 * _MINUTE_S:
        value, unit = seconds / _MINUTE_S, "minutes"
    return f"{value:.2g} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
