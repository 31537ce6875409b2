"""A user's own training loop, driven an epoch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from lab.errors import TaskError
from lab.spec.exchange import Assignment
from lab.spec.trial import Outcome, Trial
from lab.tasks.task import TrialFunction
from lab.training.interface import EpochResult, Trainer


class FunctionTrainer(Trainer):
    """Drives a user's generator, one trial at a time; each value it yields is an epoch's metrics."""

    def __init__(self, function: TrialFunction) -> None:
        self.width = 1
        self._function = function
        self._running: tuple[Trial, Iterator[Mapping[str, float]]] | None = None
        self._epoch = 0

    def start(self, assignment: Assignment) -> None:
        self._running = (assignment.trial, iter(self._function(assignment.trial)))
        self._epoch = 0

    def stop(self, slot: int) -> None:
        self._running = None

    def epoch(self) -> tuple[EpochResult, ...]:
        if self._running is None:
            return ()
        trial, values = self._running
        try:
            metrics = next(values)
        except StopIteration:
            raise TaskError(
                f"the trial function ended after {self._epoch} of {trial.epochs} epochs; it must yield each epoch"
            ) from None
        if not isinstance(metrics, Mapping) or self._function.metric not in metrics:
            raise TaskError(f"the trial function yielded {metrics!r}, without the metric '{self._function.metric}'")
        self._epoch += 1
        score = float(metrics[self._function.metric])
        outcome, detail = None, ""
        if not math.isfinite(score):
            outcome, detail = Outcome.DIVERGED, f"{self._function.metric} is {score} after epoch {self._epoch}"
        elif self._epoch >= trial.epochs:
            outcome = Outcome.COMPLETED
            next(values, None)  # what stands behind the last yield runs too
        return (EpochResult(0, {k: float(v) for k, v in metrics.items()}, outcome, detail),)
