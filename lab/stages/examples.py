"""The test examples that a model is most wrong, and least sure, about, in words."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lab.stages.diagnostics import Example
from lab.tasks.description import some
from lab.tasks.task import Task
from lab.training.examples import uncertainty, wrongness

_SHOWN = 12
"""Examples of each sort that are kept for the report."""
_VALUES = 8
"""Values of one example that are shown."""


def telling_examples(
    task: Task, prediction: Tensor, target: Tensor, thresholds: Tensor | None = None
) -> dict[str, tuple[Example, ...]]:
    """The examples of the test split that a calibrated prediction [n, ...] is most wrong and least sure about; of
    classes and labels, only what is wrong is called so.

    Args:
        thresholds: from which probability on each label is said [c]; None: from a half on.
    """
    wrong = _wrongness(task, prediction, target)
    ranked = {"most wrong": wrong.masked_fill(~_is_wrong(task, prediction, target, thresholds), -math.inf)}
    unsure = uncertainty(prediction, task.kind)
    if unsure is not None:
        ranked["most uncertain"] = unsure
    instead = task.readable(prediction, target)

    def example(index: int) -> Example:
        """A prediction and its target in words; where a task says something instead, that alone."""
        one = example_of(task, index, prediction[index], target[index], thresholds)
        if instead and not task.in_words(prediction[index], None):
            said = ", ".join(f"{name} {_short(values[index])}" for name, values in instead.items())
            return replace(one, said=said, true="")
        return one

    shown: dict[str, tuple[Example, ...]] = {}
    for name, values in ranked.items():
        first = values.argsort(descending=True, stable=True)[:_SHOWN].tolist()
        shown[name] = tuple(example(index) for index in first if values[index] > -math.inf)
    return shown


def example_of(task: Task, index: int, prediction: Tensor, target: Tensor, thresholds: Tensor | None = None) -> Example:
    """One test example with its prediction [...] and target [...] in words."""
    return Example(
        index,
        in_words(task, prediction, None, thresholds),
        in_words(task, prediction, target),
        shown={str(name): str(text) for name, text in task.show("test", index).items()},
    )


def _short(value: Tensor | str) -> str:
    return value if isinstance(value, str) else f"{float(value):.4g}"


def _wrongness(task: Task, prediction: Tensor, target: Tensor) -> Tensor:
    """[n]; by the task's own loss where predicted values and targets differ in shape, as logits [n, l, c] and classes
    [n, l] do."""
    if task.kind == "regression" and prediction.shape != target.shape:
        return task.loss(prediction, target)
    return wrongness(prediction, target, task.kind)


def _is_wrong(task: Task, prediction: Tensor, target: Tensor, thresholds: Tensor | None) -> Tensor:
    """[n]: whether something else is said than what is true; values are all a little wrong."""
    if task.kind == "classification" and prediction.ndim == 2:
        return prediction.argmax(dim=1) != target
    if task.kind == "multilabel" and prediction.ndim == 2:
        least = 0.5 if thresholds is None else thresholds
        return ((prediction > least) != (target > 0.5)).any(dim=1)
    return torch.ones(len(prediction), dtype=torch.bool, device=prediction.device)


def in_words(task: Task, prediction: Tensor, target: Tensor | None, thresholds: Tensor | None = None) -> str:
    """A prediction, or with a target the target, in words."""
    if said := task.in_words(prediction, target):
        return said
    names = task.class_names
    if prediction.ndim > 1 and task.kind != "regression":
        return _of_parts(task, prediction, target)
    if task.kind == "classification":
        number = int(prediction.argmax() if target is None else target)
        name = names[number] if names else str(number)
        return f"{name} ({float(prediction[number]):.0%})"
    if task.kind == "multilabel":
        least = 0.5 if thresholds is None else thresholds
        chosen = torch.nonzero(prediction > least if target is None else target > 0.5)[:, 0].tolist()
        return ", ".join(names[i] if names else str(i) for i in chosen) or "none"
    values = (prediction if target is None else target).reshape(-1).tolist()
    return some([f"{value:.4g}" for value in values], _VALUES)


def _of_parts(task: Task, prediction: Tensor, target: Tensor | None) -> str:
    """How large a share of an example's parts is of which class, or has its label: of probabilities [c, ...], or of
    labels [...]."""
    if task.kind == "multilabel":
        said = prediction > 0.5 if target is None else target > 0.5
        return f"{float(said.float().mean()):.0%} of its parts"
    classes = (prediction.argmax(dim=0) if target is None else target).flatten()
    shares = classes.bincount(minlength=len(prediction)) / len(classes)
    names = task.class_names or [*map(str, range(len(prediction)))]
    there = [i for i in shares.argsort(descending=True, stable=True).tolist() if shares[i] > 0]
    return some([f"{names[i]} {float(shares[i]):.0%}" for i in there], _VALUES)
