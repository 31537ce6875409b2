"""What torch's own schedulers do, step by step, in an ordinary loop."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

TORCH_2_13 = torch.__version__.startswith("2.13.")
"""The version whose faults the tests name; a later one may have mended them."""


def sgd(lr: float = 1.0, groups: int = 1) -> torch.optim.SGD:
    """An optimizer with `groups` groups of one parameter each."""
    weights = [torch.zeros(1, requires_grad=True) for _ in range(groups)]
    return torch.optim.SGD([{"params": [w]} for w in weights], lr=lr, momentum=0.9)


def walk(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, steps: int) -> tuple[list[float], list[float]]:
    """lr and momentum at each of `steps` optimizer steps."""
    lr, momentum = [], []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        lr.append(float(group["lr"]))
        momentum.append(float(group["betas"][0] if "betas" in group else group["momentum"]))
        optimizer.step()
        scheduler.step()
    return lr, momentum


def torch_one_cycle(total: int, **options: Any) -> tuple[list[float], list[float]]:
    """OneCycleLR's lr and momentum at each of `total` steps, and at the step after them."""
    optimizer = sgd()
    scheduler = OneCycleLR(optimizer, total_steps=total, **options)
    lr, momentum = walk(optimizer, scheduler, total)
    group = optimizer.param_groups[0]
    return [*lr, group["lr"]], [*momentum, group["momentum"]]
