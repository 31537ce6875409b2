"""A task whose targets a teacher has said: against the student's own loss, and what softening does to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.distilled import TEMPERATURE, Distilled
from lab.tasks.task import Data, Split, Task, accuracy

GENERATOR = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(12, 3, generator=GENERATOR)


class Student(Task):
    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.metrics = {"accuracy": accuracy} if kind == "classification" else {"far": lambda o, t: (o - t).abs().max()}

    def data(self, split: Split) -> Data:
        raise AssertionError

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(2, 3)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).pow(2).mean(dim=1) if self.kind == "regression" else super().loss(output, target)


def _targets(kind: str) -> Tensor:
    if kind == "classification":
        return torch.arange(12) % 3
    return (OUTPUT > 0).float() if kind == "multilabel" else OUTPUT + 1.0


def _distilled(kind: str, said: Tensor) -> Distilled:
    return Distilled(Student(kind), (torch.zeros(12, 2), said), (torch.zeros(12, 2), _targets(kind)))


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_given_targets_have_the_students_loss_and_metrics(kind: str) -> None:
    task = _distilled(kind, torch.full((12, 3), 0.3))
    target, student, y = task.data("valid")[1], Student(kind), _targets(kind)
    torch.testing.assert_close(task.loss(OUTPUT, target), student.loss(OUTPUT, y))
    for name, metric in student.metrics.items():
        torch.testing.assert_close(task.metrics[name](OUTPUT, target), metric(OUTPUT, y))


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_teacher_is_best_met_by_its_own_outputs_with_gradients_as_large(kind: str, temperature: float) -> None:
    """In the limit the gradient is (z - v) / c for logits without mean (Hinton et al., equation 4)."""
    said = OUTPUT.softmax(dim=1) if kind == "classification" else OUTPUT.sigmoid()
    task = _distilled(kind, said)
    random = np.random.default_rng(0)
    draws = torch.from_numpy(task.draw(12, random, {TEMPERATURE: temperature}))
    _, y = task.augment(torch.zeros(1, 12, 2), task.data("train")[1][None], draws[None])
    z = OUTPUT.clone().requires_grad_()
    (met,) = torch.autograd.grad(task.loss(z, y[0]).sum(), z)
    assert float(met.abs().max()) < 1e-5
    far = (OUTPUT + 0.1 * torch.tensor([1.0, -1.0, 0.0])).requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(far, y[0]).sum(), far)
    assert 0.001 < float(gradient.abs().max()) < 0.1


def test_at_high_temperatures_the_gradient_is_that_of_matched_logits() -> None:
    v = OUTPUT - OUTPUT.mean(dim=1, keepdim=True)
    task = _distilled("classification", v.softmax(dim=1))
    target = torch.cat([v.softmax(dim=1), torch.full((12, 1), 1000.0)], dim=1)
    z = (2 * v).double().requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(z, target.double()).sum(), z)
    torch.testing.assert_close(gradient, v.double() / 3, rtol=0.02, atol=1e-3)


def test_a_students_task_has_no_test_split() -> None:
    with pytest.raises(TaskError, match="when it has been trained"):
        _distilled("regression", torch.zeros(12, 3)).data("test")
