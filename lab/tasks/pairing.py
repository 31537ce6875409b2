"""Whether a loss and a metric set each output against its own target: outputs [n, 1] and targets [n] fit each other
without a word, as [n, n], and then every example learns the mean of all.

Shapes: n examples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab.errors import TaskError
from lab.tasks.task import Kind, Metric, Task

_ROWS = 64
"""Examples that are looked through for some whose targets differ."""
_FEW = 3
_SURE = 10.0
"""A logit of which nobody is in doubt."""


def telling_rows(y: Tensor) -> Tensor:
    """The numbers [r] of a few examples by whose targets [n, ...] a mistaken partner shows: they differ, but for the
    first two, which are one example."""
    rows = torch.linspace(0, len(y) - 1, min(len(y), _ROWS)).long()
    _, which = torch.unique(y[rows].reshape(len(rows), -1), dim=0, return_inverse=True)
    numbers = which.tolist()
    first = [i for i, number in enumerate(numbers) if number not in numbers[:i]][:_FEW]
    return rows[[0, *first]]


@torch.no_grad()
def check_own_loss(task: Task, output: Tensor, target: Tensor) -> None:
    """Refuse a loss that gives an example another value among others than alone.

    Args:
        output: what a model gave for the examples [n, ...], whose targets [n, ...] are those of `telling_rows`.

    Raises:
        TaskError: with both values and the shapes.
    """
    loss = task.loss
    together = loss(output, target)
    if not torch.equal(together.nan_to_num(), loss(output, target).nan_to_num()):
        return  # it draws at random, and nothing can be compared
    for i in range(len(target)):
        alone = loss(output[i : i + 1], target[i : i + 1])
        if not torch.allclose(alone[0], together[i], rtol=1e-3, atol=1e-5, equal_nan=True):
            raise TaskError(
                f"the loss of an example is {float(alone[0]):.4g} alone and {float(together[i]):.4g} among others: do "
                f"the shapes of outputs {tuple(output.shape)} and targets {tuple(target.shape)} fit each other?"
            )


@torch.no_grad()
def check_own_scores(task: Task, output: Tensor, target: Tensor) -> None:
    """Refuse a metric to which right answers are worth no more than the same answers exchanged, though each by itself
    is right.

    A metric that looks at no pairs passes (the mean of all errors), and one that ignores the targets.

    Args:
        output: as `check_own_loss`; its shape and type count.

    Raises:
        TaskError: with what it says of right answers together and of each.
    """
    right = _right(output, target, task.kind)
    for name, metric in task.metrics.items():
        together, alone = _said(metric, right, target), _said_alone(metric, right, target)
        if alone is not None and not _alike(alone, together) and not _pairs(metric, right, target):
            raise TaskError(
                f"{type(task).__name__}.metrics[{name!r}]: of right answers only it gives {together:.4g}, and "
                f"{alone:.4g} of each: do the shapes of outputs {tuple(output.shape)} and targets "
                f"{tuple(target.shape)} fit each other?"
            )


def _said(metric: Metric, output: Tensor, target: Tensor) -> float:
    try:
        return float(metric(output.clone(), target))
    except Exception:  # these are fewer examples than it takes, or none of its shapes
        return math.nan


def _said_alone(metric: Metric, right: Tensor, target: Tensor) -> float | None:
    """What it says of each right answer, or of all of them where output and target have one shape; None: neither is
    known."""
    values = [_said(metric, right[i : i + 1], target[i : i + 1]) for i in range(len(target))]
    if not all(_alike(values[0], value) for value in values):
        if right.numel() != target.numel():
            return None
        values = [_said(metric, right.reshape(target.shape), target)]
    return values[0] if math.isfinite(values[0]) else None


def _pairs(metric: Metric, right: Tensor, target: Tensor) -> bool:
    """Whether it makes a difference to it which answer belongs to which target, or none what the targets are."""
    together = _said(metric, right, target)
    exchanged = _said(metric, right, target.roll(1, 0))
    others = _said(metric, right, target[:1].expand_as(target))
    return not _alike(together, exchanged) or _alike(together, others)


def _right(output: Tensor, target: Tensor, kind: Kind) -> Tensor:
    """What a model that is always right would give, as far as it can be known."""
    if kind == "classification":
        classes = torch.nn.functional.one_hot(target.long(), output.shape[1])  # [n, ..., c]
        return _SURE * classes.movedim(-1, 1).to(output.dtype)
    if kind == "multilabel":
        return _SURE * (2 * target.to(output.dtype) - 1)
    if output.numel() == target.numel():
        return target.to(output.dtype).reshape(output.shape)
    if output.shape[: target.ndim] == target.shape:
        return target.to(output.dtype).reshape(*target.shape, *[1] * (output.ndim - target.ndim)).expand_as(output)
    return output


def _alike(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-6)
