"""Classes of very different sizes: how much more an example of a rare one counts in training.

Shapes: k slots, b examples of a batch, c classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.balance_options import BALANCE
from lab.tasks.task import Task


def shares_of(y: Tensor, classes: int) -> Tensor:
    """Each class's share of the examples [c], of classes [n]."""
    return y.bincount(minlength=classes) / len(y)


def balanced(target: Tensor, exponent: Tensor, shares: Tensor) -> Tensor:
    """Soft targets [k, b, c] times the weight of their class, which makes a cross entropy that of weighted examples.

    A class weighs share^-exponent, over the mean of that, so that an example weighs 1 on average: at 0 all examples
    count the same, at 1 all classes do.

    Args:
        exponent: of each slot and example, [k, b].
        shares: of each class in the training examples, [c].

    >>> y = torch.eye(2)[None]
    >>> balanced(y, torch.ones(1, 2), torch.tensor([0.75, 0.25]))[0].diagonal()
    tensor([0.6667, 2.0000])
    """
    weights = shares.clamp_min(torch.finfo(shares.dtype).tiny).pow(-exponent[..., None])
    return target * (weights / (shares * weights).sum(dim=-1, keepdim=True))


def balanced_classes(y: Tensor, exponent: Tensor, shares: Tensor) -> Tensor:
    """As `balanced`, of classes [k, b]."""
    shares = shares.to(y.device)
    return balanced(nn.functional.one_hot(y, len(shares)).to(shares.dtype), exponent, shares)


def exponent_of(task: Task, params: Mapping[str, Any], option: float) -> float | None:
    """What a trial says of it, or the option; None where nothing is to be weighted in any trial. Every slot asks at
    every step, so nothing more is looked at then.

    Raises:
        TaskError: the target is none of classes.
    """
    if BALANCE not in params and not option:
        return None
    if task.kind != "classification":
        raise TaskError(f"{BALANCE}: is for a target of classes; this one is {task.kind}")
    return float(params.get(BALANCE, option))
