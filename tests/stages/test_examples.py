"""Which test examples are shown as wrong: those alone that are."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lab.stages.examples import telling_examples
from lab.tasks.task import Data, Split, Task


class Named(Task):
    """Two classes, or labels, by name."""

    class_names = ("cat", "dog")

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def model(self, params: Any) -> nn.Module:
        raise NotImplementedError

    def data(self, split: Split) -> Data:
        raise NotImplementedError


def test_of_classes_only_the_wrong_ones_are_most_wrong() -> None:
    prediction = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.6, 0.4]])
    shown = telling_examples(Named("classification"), prediction, torch.tensor([0, 0, 0, 0]))
    assert [(one.index, one.said, one.true) for one in shown["most wrong"]] == [
        (1, "dog (80%)", "cat (20%)"),
        (2, "dog (55%)", "cat (45%)"),
    ]
    assert len(shown["most uncertain"]) == 4


def test_where_all_are_right_none_is_wrong() -> None:
    prediction = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert telling_examples(Named("classification"), prediction, torch.tensor([0, 1]))["most wrong"] == ()


def test_of_labels_those_are_wrong_that_miss_one_at_the_thresholds_that_say_them() -> None:
    prediction, target = torch.tensor([[0.4, 0.1], [0.9, 0.8]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    task = Named("multilabel")
    assert [one.index for one in telling_examples(task, prediction, target)["most wrong"]] == [0]
    assert telling_examples(task, prediction, target, torch.tensor([0.3, 0.5]))["most wrong"] == ()


def test_values_are_all_a_little_wrong() -> None:
    prediction, target = torch.tensor([1.0, 5.0, 2.0]), torch.tensor([1.5, 1.0, 2.0])
    assert [one.index for one in telling_examples(Named("regression"), prediction, target)["most wrong"]] == [1, 0, 2]
