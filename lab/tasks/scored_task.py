"""A task whose metric its options name; what they do not say follows from the kind of its target, or is tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lab.tasks.balance import shares_of
from lab.tasks.focal import focal_loss, is_focal
from lab.tasks.metrics import metrics_of
from lab.tasks.scored import Score, Scored, score_of
from lab.tasks.task import Task
from lab.tasks.undecided import Undecided

if TYPE_CHECKING:
    from lab.tasks.several_targets import Targets


class ScoredTask(Task):
    """Read-only where the contract has plain attributes: the kind is known only with the data."""

    _options: Any
    """Options that are `Scored`."""
    _at_half = False
    """Labels are said from a probability of a half on, in a study that an earlier version began."""

    @property
    def _several(self) -> Targets | None:
        """The targets, where they are of different kinds: then these say how they are scored and read."""
        return None

    @property
    def targets(self) -> Targets | None:
        """The several targets, as `lab.tasks.several_targets.each_target` asks for them."""
        return self._several

    @property
    def _score(self) -> Score:
        return score_of(self._options, self.kind)

    @property
    def metric(self) -> Any:  # type: ignore[override]
        return (self._several or self._score).metric

    @property
    def direction(self) -> Any:  # type: ignore[override]
        return (self._several or self._score).direction

    @property
    def metrics(self) -> Any:  # type: ignore[override]
        several = self._several
        if several is not None:
            return several.metrics
        return metrics_of(self._score, score_of(Scored(), self.kind), self.kind, self._at_half)

    @cached_property
    def _shares(self) -> Tensor | None:
        """Share of each class in the training examples [c]; None where the targets are no classes."""
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

    def predict(self, output: Tensor) -> Tensor:
        several = self._several
        return super().predict(output) if several is None else several.predict(output)

    def outward(self, prediction: Tensor) -> Tensor:
        several = self._several
        return super().outward(prediction) if several is None else several.shares(prediction)

    def readable(self, prediction: Tensor, target: Tensor | None) -> Mapping[str, Tensor | Sequence[str]]:
        several = self._several
        return super().readable(prediction, target) if several is None else several.readable(prediction)

    def in_words(self, prediction: Tensor, target: Tensor | None) -> str:
        several = self._several
        return super().in_words(prediction, target) if several is None else several.in_words(prediction, target)
