"""Batches of a data set that a cluster reads, decodes and shards: a `ray.data.Dataset`, known by its face, without Ray.

Shapes: b rows of a batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.errors import TaskError

TARGETS = ("labels", "label")
"""Which column of examples with several is the target, as data sets of Hugging Face call it."""
_FACE = ("count", "iter_batches", "schema")
_BATCH = 256
_NUMBERS = "biuf"
_THEN = "\nThe above exception was the direct cause"
"""Where in a traceback the next error begins."""


def is_distributed(source: object) -> bool:
    """Whether it is such a data set."""
    return all(callable(getattr(source, name, None)) for name in _FACE)


def batches(source: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs [b, ...] and targets [b, ...] in the order of the data set, which its blocks have to be told to keep: they
    come as they are ready otherwise, and no two reads are alike.

    Raises:
        TaskError: there is no target among its columns, not one input beside it, or a column that holds no numbers.
    """
    with _in_order(source):
        for batch in source.iter_batches(batch_size=_BATCH, batch_format="numpy"):
            if any(len(column) for column in batch.values()):
                x, y = _names_of(batch)
                yield _tensor(x, batch[x]), _tensor(y, batch[y])


def reason(error: BaseException) -> str:
    """What went wrong where rows were made: a worker's error comes with its traceback as text, the first one first."""
    return str(error).partition(_THEN)[0].strip()


@contextlib.contextmanager
def _in_order(source: Any) -> Iterator[None]:
    """Let its blocks come in their order meanwhile; each data set has options of its own."""
    options: Any = getattr(getattr(source, "context", None), "execution_options", None)
    if not hasattr(options, "preserve_order"):
        yield
        return
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def _names_of(batch: Mapping[str, Any]) -> tuple[str, str]:
    """The columns of the input and the target."""
    target = next((name for name in TARGETS if name in batch), None)
    inputs = [name for name in batch if name != target]
    if target is None or len(inputs) != 1:
        raise TaskError(
            f"has columns {', '.join(map(str, batch))}; give one input, and its target as 'label' or 'labels'"
        )
    return inputs[0], target


def _tensor(name: str, column: NDArray[Any]) -> Tensor:
    values = np.asarray(column)
    if values.dtype == object:  # as arrays come that need not be of one shape
        shapes = sorted({np.shape(value) for value in values}, key=str)
        if len(shapes) > 1:
            raise TaskError(
                f"column {name!r}: rows have several shapes, {shapes[0]} and {shapes[1]} among them; make them alike"
            )
        values = np.stack([np.asarray(value) for value in values])
    if values.dtype.kind not in _NUMBERS:
        kinds = "/".join(sorted({type(value).__name__ for value in np.asarray(column)[:_BATCH]}))
        raise TaskError(f"column {name!r} holds {kinds}; give numbers, or arrays of them")
    return torch.tensor(values)  # a copy: those of the cluster lie in its own memory, and may not be written
