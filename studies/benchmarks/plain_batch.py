"""A task's batch as a training loop by hand takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab.tasks.task import Task


def augmented(
    task: Task, x: Tensor, y: Tensor, random: np.random.Generator, params: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """What the model takes [b, ...] and its targets, of inputs as the task's data hold them."""
    inputs = task.model_input(x)
    draws = task.draw(len(x), random, params)
    if draws is None:
        return inputs, y
    inputs, targets = task.augment(inputs[None], y[None], torch.from_numpy(draws)[None])
    return inputs[0], targets[0]
