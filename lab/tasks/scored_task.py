"""A task whose metric its options name; what they do not say follows from the kind of its target, or is tried."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from torch import Tensor

from lab.tasks.balance import shares_of
from lab.tasks.focal import focal_loss, is_focal
from lab.tasks.metrics import metrics_of
from lab.tasks.scored import Score, Scored, score_of
from lab.tasks.task import Task
from lab.tasks.undecided import Undecided


class ScoredTask(Task):
    """Read-only where the contract has plain attributes: the kind is known only with the data."""

    _options: Any
    """Options that are `Scored`."""
    _at_half = False
    """Labels are said from a probability of a half on, in a study that an earlier version began."""

    @property
    def _score(self) -> Score:
        return score_of(self._options, self.kind)

    @property
    def metric(self) -> Any:  # type: ignore[override]
        return self._score.metric

    @property
    def direction(self) -> Any:  # type: ignore[override]
        return self._score.direction

    @property
    def metrics(self) -> Any:  # type: ignore[override]
        return metrics_of(self._score, score_of(Scored(), self.kind), self.kind, self._at_half)

    @cached_property
    def _shares(self) -> Tensor | None:
        """Of each class in the training examples [c]; None where the targets are no classes."""
        return shares_of(self.data("train")[1], len(self.class_names)) if self.kind == "classification" else None

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """As in `Task`; focal where the targets say so, which those of validation never do."""
        if is_focal(output, target):
            return focal_loss(output, target, self.kind)
        return super().loss(output, target)

    @property
    def plain_loss(self) -> bool:
        return getattr(self.loss, "__func__", None) is ScoredTask.loss

    @property
    def undecided(self) -> Mapping[str, Undecided]:
        options: Mapping[str, Undecided] = self._options.undecided()
        return options
