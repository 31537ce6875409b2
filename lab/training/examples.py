"""Which examples a prediction is most wrong and least sure about: worth a look, for labels and data are often to blame.

Shapes: n examples, c classes or labels, t values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lab.tasks.task import Kind
from lab.training.ensemble import of_examples

_LEAST = 1e-7


def wrongness(prediction: Tensor, target: Tensor, kind: Kind) -> Tensor:
    """[n]: -log p of the true class, mean binary cross entropy of the labels, or the mean absolute error; of an
    example's parts the mean."""
    if kind == "classification":
        return of_examples(-prediction.gather(1, target[:, None])[:, 0].clamp_min(_LEAST).log())
    if kind == "multilabel":
        p = prediction.clamp(_LEAST, 1 - _LEAST)
        return of_examples(-torch.where(target > 0.5, p, 1 - p).log())
    return (prediction - target).abs().reshape(len(prediction), -1).mean(dim=1)


def uncertainty(prediction: Tensor, kind: Kind) -> Tensor | None:
    """[n]: entropy of the classes, or mean entropy of the labels; None for plain values, which carry none."""
    if kind == "regression":
        return None
    p = prediction.clamp(_LEAST, 1 - _LEAST)
    if kind == "classification":
        return of_examples(-(p * p.log()).sum(dim=1))
    return of_examples(-(p * p.log() + (1 - p) * (1 - p).log()))
