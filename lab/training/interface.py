"""What a lane asks of whatever trains the trials in its slots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lab.spec.exchange import Assignment
from lab.spec.trial import Outcome


@dataclass(frozen=True)
class EpochResult:
    """What an epoch gave one slot."""

    slot: int
    metrics: Mapping[str, float]
    outcome: Outcome | None = None
    detail: str = ""
    step_losses: tuple[float, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Snapshots taken in it. They are the record's business from here on: the trainer keeps none of them."""


class Trainer(ABC):
    """Trains the trials in its slots; knows neither ledger nor lane."""

    width: int

    @abstractmethod
    def start(self, assignment: Assignment) -> None:
        """Begin a trial in its slot."""

    @abstractmethod
    def stop(self, slot: int) -> None:
        """Free a slot."""

    @abstractmethod
    def epoch(self) -> tuple[EpochResult, ...]:
        """Train every occupied slot for one epoch."""

    def costs(self, slot: int) -> Mapping[str, float]:
        """What was counted of the model in a slot; empty where nothing was."""
        return {}

    def save(self, slot: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """A slot's whole state; None where a trial can only be run again from its beginning."""
        return None

    def restore(self, assignment: Assignment, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Go on with a trial where `save` left it."""
        raise NotImplementedError(f"{type(self).__name__} cannot restore a trial")
