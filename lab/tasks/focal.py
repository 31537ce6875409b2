"""Focal loss: examples that a net is sure of and right about count less in training, the surer the less.

Shapes: n examples, c classes or labels, k slots, b examples of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lab.errors import TaskError
from lab.tasks.balance_options import FOCAL_GAMMA, no_emphasis
from lab.tasks.task import Kind


def gamma_of(kind: Kind, params: Mapping[str, Any], option: float) -> float | None:
    """What a trial says of it, or the option; None where no trial's loss is focal.

    Raises:
        TaskError: values are predicted, which nothing is sure of.
    """
    if FOCAL_GAMMA not in params and not option:
        return None
    if kind == "regression":
        raise TaskError(f"task.{FOCAL_GAMMA}: {params.get(FOCAL_GAMMA, option)} {no_emphasis(kind)[FOCAL_GAMMA]}")
    return float(params.get(FOCAL_GAMMA, option))


def is_focal(output: Tensor, target: Tensor) -> bool:
    """Whether each target says, behind the classes or labels, by which gamma its loss is focal: [n, c + 1] beside
    outputs [n, c]."""
    return output.ndim == target.ndim == 2 and target.shape[1] == output.shape[1] + 1


def focal_loss(output: Tensor, target: Tensor, kind: Kind) -> Tensor:
    """Loss [n] of logits [n, c], for targets [n, c + 1]: shares of the classes, or labels, and behind them gamma.

    For one class it is -(1 - p)^gamma log(p), Lin et al. 2017 (arXiv 1708.02002), eq. 4, the mean over labels as in
    `torchvision.ops.sigmoid_focal_loss`; the class weights of their eq. 5 come with the shares (`balance`). Shares that
    are neither 0 nor 1, by label smoothing or mixup, count each class's loss by its share. At gamma 0 it is the cross
    entropy.

    >>> output, target = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0, 2.0]])
    >>> p = output.softmax(dim=1)[0, 0]
    >>> focal_loss(output, target, "classification") - -((1 - p) ** 2) * p.log()
    tensor([0.])
    """
    shares, gamma = target[:, :-1], target[:, -1:]
    if kind == "multilabel":
        yes, no = logsigmoid(output), logsigmoid(-output)
        return (shares * _focused(yes, gamma) + (1 - shares) * _focused(no, gamma)).mean(dim=1)
    return (shares * _focused(output.log_softmax(dim=1), gamma)).sum(dim=1)


def _focused(log_p: Tensor, gamma: Tensor) -> Tensor:
    """-(1 - p)^gamma log(p); where p is 1 the power has no slope below gamma 1, and none is asked for."""
    missing = (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).eps)
    return -(missing**gamma) * log_p
