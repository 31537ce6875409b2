"""What a task says of its data before anything is trained on them. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """Facts and doubts in plain words, one line each."""

    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    train_examples: int | None = None
