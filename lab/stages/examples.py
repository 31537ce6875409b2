"""The test examples that a model is most wrong, and least sure, about, in words."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.stages.ensemble import Example
from lab.tasks.task import Task
from lab.training.examples import uncertainty, wrongness

_SHOWN = 12
"""Examples of each sort that are kept for the report."""


def telling_examples(
    task: Task, prediction: Tensor, target: Tensor, thresholds: Tensor | None = None
) -> dict[str, tuple[Example, ...]]:
    """The examples of the test split that a calibrated prediction [n, ...] is most wrong and least sure about.

    Args:
        thresholds: from which probability on each label is said [c]; None: from a half on.
    """
    ranked = {"most wrong": wrongness(prediction, target, task.kind)}
    unsure = uncertainty(prediction, task.kind)
    if unsure is not None:
        ranked["most uncertain"] = unsure
    return {
        name: tuple(
            Example(
                index=index,
                said=_said(task, prediction[index], None, thresholds),
                true=_said(task, prediction[index], target[index]),
                shown=dict(task.show("test", index)),
            )
            for index in values.argsort(descending=True, stable=True)[:_SHOWN].tolist()
        )
        for name, values in ranked.items()
    }


def _said(task: Task, prediction: Tensor, target: Tensor | None, thresholds: Tensor | None = None) -> str:
    """A prediction, or with a target the target, in words."""
    names = task.class_names
    if task.kind == "classification":
        number = int(prediction.argmax() if target is None else target)
        name = names[number] if names else str(number)
        return f"{name} ({float(prediction[number]):.0%})"
    if task.kind == "multilabel":
        least = 0.5 if thresholds is None else thresholds
        chosen = torch.nonzero(prediction > least if target is None else target > 0.5)[:, 0].tolist()
        return ", ".join(names[i] if names else str(i) for i in chosen) or "none"
    values = (prediction if target is None else target).reshape(-1).tolist()
    return ", ".join(f"{value:.4g}" for value in values)
