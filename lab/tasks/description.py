"""What a task says of its data before anything is trained on them. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Description:
    """Facts and doubts in plain words, one line each, whatever the data hold that they name."""

    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    train_examples: int | None = None
    kind: str = ""
    """That of the target, or `several` where its parts differ in it; empty: nobody has said."""
    metrics: tuple[str, ...] = ()
    """Those of each trial, by name; none: nobody has said."""
    folds: int | None = None
    """Folds of the training and validation rows; None: there are none."""
    drift: tuple[Mapping[str, Any], ...] = ()
    """How validation and test rows differ from the training rows, as JSON can hold it; see `lab.tasks.table.drift`."""

    def __post_init__(self) -> None:
        for name in ("facts", "warnings"):
            object.__setattr__(self, name, tuple(" ".join(line.split()) for line in getattr(self, name)))


def some(texts: Sequence[str], most: int = 20) -> str:
    """The first of them, and how many there are where those are not all."""
    return ", ".join(texts[:most]) + (f", ... ({len(texts)} in all)" if len(texts) > most else "")
