"""The batch size as a hyperparameter; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.errors import SpecError, TaskError
from lab.spec.space import Choice, Dimension

BATCH_SIZE = "batch_size"
"""The hyperparameter that sets a trial's batch size."""


def batch_size_of(own: int, params: Mapping[str, Any]) -> int:
    """A trial's batch size; `own` is the spec's, for trials that have none."""
    return int(params.get(BATCH_SIZE, own))


def batch_sizes(own: int, space: Mapping[str, Dimension]) -> tuple[int, ...]:
    """The batch sizes that trials of a space may have.

    Raises:
        SpecError: a range of them, or one that is no size.
    """
    dimension = space.get(BATCH_SIZE)
    if dimension is None:
        return (own,)
    path = f"space.{BATCH_SIZE}"
    if not isinstance(dimension, Choice):
        raise SpecError(path, "is a range; give a choice of a few: trials of one batch size are trained together")
    sizes: list[int] = []
    for option in dimension.options:
        if isinstance(option, bool) or not isinstance(option, int) or option < 1:
            raise SpecError(path, f"{option!r} is not a whole number of at least 1")
        sizes.append(option)
    return tuple(dict.fromkeys([*sizes, own] if dimension.when else sizes))


def whole_batches(examples: int, batch_size: int) -> int:
    """Batches of an epoch; the last, incomplete one is left out, as in the course.

    Raises:
        TaskError: not even one.
    """
    if examples < batch_size:
        raise TaskError(f"batch_size {batch_size} is above the {examples} training examples")
    return examples // batch_size
