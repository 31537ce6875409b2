"""A task's model from a trial's hyperparameters and seed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lab.tasks.task import Data, Task, defines

_FEW = 8


def build_model(task: Task, params: Mapping[str, Any], seed: int, examples: Tensor | None = None) -> nn.Module:
    """A task's model with weights drawn from `seed`; the process's own random state stays as it was.

    Args:
        examples: inputs [b, ...] as the model takes them, by which lazy layers (`nn.LazyLinear`) learn their shapes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = task.model(dict(params))  # a user may take out of it what has been dealt with
        if examples is not None and any(is_lazy(t) for t in chain(module.parameters(), module.buffers())):
            with torch.no_grad():
                module.eval()(examples.cpu())
            module.train()
        return module


def first_examples(data: Data) -> Data:
    """The first inputs [b, ...] and targets [b, ...] of a split: as few as show what a model is built for."""
    x, y = data
    return x[:_FEW], y[:_FEW]


def group_count(task: Task, params: Mapping[str, Any], examples: Tensor | None = None) -> int:
    """How many parameter groups a task makes of its model; none is built for a task that says nothing of groups."""
    if not defines(task, "groups"):
        return 1
    return len(task.groups(build_model(task, params, 0, examples))) or 1
