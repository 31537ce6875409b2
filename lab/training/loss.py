"""A task's loss of all slots at once.

Shapes: k slots, b examples, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lab.tasks.task import Task
from lab.training.memory import out_of_memory


def slot_losses(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Mean loss of each slot [k], for outputs [k, b, ...] and targets [k, b, ...]."""
    if task.plain_loss and output.ndim == 3 and target.ndim == 2:
        # The same cross entropy with the classes not innermost: some ten times faster for few classes.
        return torch.nn.functional.cross_entropy(output.transpose(1, 2), target, reduction="none").mean(dim=1)
    per_sample = task.loss(output.reshape(-1, *output.shape[2:]), target.reshape(-1, *target.shape[2:]))
    return per_sample.view(target.shape[:2]).mean(dim=1)


def isolated_losses(
    task: Task, output: Tensor, target: Tensor, active: Sequence[int]
) -> tuple[Tensor, dict[int, Exception]]:
    """The same losses [k], and by active slot what its own raised: a loss may refuse what is no number, and one broken
    trial, or what a former one left in a row that is free, must not be its neighbours' end."""
    try:
        return slot_losses(task, output, target), {}
    except Exception as error:
        if out_of_memory(error):
            raise
    losses, raised = list(output.new_zeros(len(output))), {}
    for slot in active:
        try:
            losses[slot] = slot_losses(task, output[slot : slot + 1], target[slot : slot + 1])[0]
        except Exception as error:
            raised[slot] = error
    return torch.stack(losses), raised
