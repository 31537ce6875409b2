"""A task's loss of all slots at once.

Shapes: k slots, b examples, c classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lab.tasks.contract import Task


def slot_losses(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Mean loss of each slot [k], for outputs [k, b, ...] and targets [k, b, ...]."""
    if type(task).loss is Task.loss and output.ndim == 3 and target.ndim == 2:
        # The same cross entropy with the classes not innermost: some ten times faster for few classes.
        return torch.nn.functional.cross_entropy(output.transpose(1, 2), target, reduction="none").mean(dim=1)
    per_sample = task.loss(output.reshape(-1, *output.shape[2:]), target.reshape(-1, *target.shape[2:]))
    return per_sample.view(target.shape[:2]).mean(dim=1)
