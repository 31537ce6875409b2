"""Validation of all slots together.

Shapes: k slots, n examples of the split, m metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lab.tasks.task import Task
from lab.training.accelerator import widest_float
from lab.training.batches import Examples
from lab.training.fault import Fault, fault_of

if TYPE_CHECKING:
    from lab.training.data_parallel.peers import Peers

_EXAMPLES = 32_768
_NUMBERS = 2**22
"""Examples, and numbers in their inputs, evaluated at once by all slots together, so that memory stays bounded."""


@torch.no_grad()
def evaluate(
    task: Task,
    data: Examples,
    width: int,
    forward: Callable[[Tensor], Tensor],
    active: Sequence[int],
    peers: Peers | None = None,
) -> tuple[dict[int, dict[str, float]], dict[int, Fault]]:
    """Metrics and `valid_loss` of each active slot, and the faults of those that have none.

    Args:
        forward: inputs [k, b, ...] to outputs [k, b, ...], in evaluation mode.
        peers: the other processes of the lane, each of which computes its part; the first judges all of them.
    """
    if peers is not None:
        every = torch.arange(len(data))
        return evaluate_each(task, data, width, forward, dict.fromkeys(active, every), len(data), peers)
    size = examples_at_once(data.first(1), width)
    outputs = [forward(x.expand(width, *x.shape)) for x in map(task.model_input, data.parts(size))]
    output = torch.cat(outputs, dim=1)  # [k, n, ...]
    return _judged(task, {slot: (output[slot], data.y) for slot in active})


@torch.no_grad()
def evaluate_each(
    task: Task,
    data: Examples,
    width: int,
    forward: Callable[[Tensor], Tensor],
    held_out: Mapping[int, Tensor],
    most: int,
    peers: Peers | None = None,
) -> tuple[dict[int, dict[str, float]], dict[int, Fault]]:
    """The same of slots that are each validated on rows of its own.

    Args:
        held_out: row numbers by active slot.
        most: how many they are at most, whichever slots are active: all are computed as many rows.
        peers: see `evaluate`.
    """
    order = torch.zeros(width, most, dtype=torch.int64)
    for slot, rows in held_out.items():
        order[slot, : len(rows)] = rows
    size = examples_at_once(data.first(1), width)

    def outputs(order: Tensor) -> Tensor:
        return torch.cat([forward(x) for x in map(task.model_input, data.of_each(order, size))], dim=1)

    if peers is None:
        output = outputs(order)  # [k, most, ...]
    else:
        of_all = peers.outputs(lambda: outputs(peers.rows_of(order)), most)
        if of_all is None:
            return {}, {}
        output = of_all
    return _judged(
        task, {slot: (output[slot, : len(rows)], data.y[rows.to(data.y.device)]) for slot, rows in held_out.items()}
    )


def _judged(
    task: Task, of_slots: Mapping[int, tuple[Tensor, Tensor]]
) -> tuple[dict[int, dict[str, float]], dict[int, Fault]]:
    """By outputs [n, ...] and targets [n, ...] of each slot."""
    scores: dict[int, Tensor] = {}
    faults: dict[int, Fault] = {}
    for slot, (output, target) in of_slots.items():
        try:
            scores[slot] = _scores(task, output, target)
        except Exception as error:
            faults[slot] = fault_of(error, output, "in validation")
    if not scores:
        return {}, faults
    names = [*task.metrics, "valid_loss"]
    values = torch.stack(list(scores.values())).tolist()  # all at once: a GPU is waited for once
    return {slot: dict(zip(names, row, strict=True)) for slot, row in zip(scores, values, strict=True)}, faults


def examples_at_once(x: Tensor, width: int) -> int:
    """How many examples `width` slots evaluate at once, for inputs [n, ...]."""
    return max(1, min(_EXAMPLES, _NUMBERS // x[:1].numel()) // width)


def _scores(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Every metric, and behind them the loss, of one slot's outputs [n, ...]: [m + 1]."""
    values = [*(metric(output, target) for metric in task.metrics.values()), task.loss(output, target).mean()]
    dtype = widest_float(target.device)
    return torch.stack([torch.as_tensor(value, dtype=dtype, device=target.device).reshape(()) for value in values])
