"""How much an example counts in training: more where its class is rare, less where a net is sure of it and right.

Shapes: k slots, b examples of a batch, c classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.balance_options import BALANCE, Balanced, no_emphasis
from lab.tasks.focal import gamma_of
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


def emphasis(task: Task, params: Mapping[str, Any], options: Balanced, examples: int) -> NDArray[np.float32] | None:
    """What `emphasised` needs of a trial, [b, 1], or [b, 2] where losses are focal; None where examples count alike.
    Nothing is drawn at random.

    Raises:
        TaskError: the target is none for which it is.
    """
    exponent = exponent_of(task, params, options.balance)
    gamma = gamma_of(task.kind, params, options.focal_gamma)
    if exponent is None and gamma is None:
        return None
    columns = [0.0 if exponent is None else exponent, *([] if gamma is None else [gamma])]
    return np.tile(np.asarray(columns, dtype=np.float32), (examples, 1))


def emphasised(y: Tensor, columns: Tensor, shares: Tensor | None) -> Tensor:
    """Targets [k, b, c], or [k, b, c + 1] where losses are focal, by what `emphasis` said [k, b, 1 or 2].

    Args:
        y: classes [k, b], soft targets or labels [k, b, c].
        shares: of each class in the training examples [c]; None for labels.
    """
    target = (y if shares is None else soft(y, len(shares))).to(columns.dtype)
    if shares is not None:
        target = balanced(target, columns[..., 0], shares.to(y.device))
    return target if columns.shape[-1] == 1 else torch.cat([target, columns[..., 1:]], dim=-1)


def soft(y: Tensor, classes: int) -> Tensor:
    """Targets [k, b, c] of classes [k, b]; shares of classes, or labels, [k, b, c] as they are."""
    return nn.functional.one_hot(y, classes) if y.ndim == 2 else y


def exponent_of(task: Task, params: Mapping[str, Any], option: float) -> float | None:
    """What a trial says of it, or the option; None where nothing is to be weighted in any trial. Every slot asks at
    every step, so nothing more is looked at then.

    Raises:
        TaskError: the target is none of classes.
    """
    if BALANCE not in params and not option:
        return None
    if task.kind != "classification":
        raise TaskError(f"task.{BALANCE}: {params.get(BALANCE, option)} {no_emphasis(task.kind)[BALANCE]}")
    return float(params.get(BALANCE, option))
