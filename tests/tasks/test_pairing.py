"""Losses and metrics that set outputs against others' targets, and those that only look so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.pairing import check_own_loss, check_own_scores, telling_rows
from lab.tasks.task import Metric, Task, accuracy, micro_f1, rmse

N = 6
VALUES = torch.tensor([1.0, 1.0, 2.0, 3.5, -1.0, 0.5])
CLASSES = torch.tensor([0, 0, 1, 2, 3, 1])
LABELS = torch.tensor([[0, 1], [0, 1], [1, 0], [1, 1], [0, 0], [1, 0]]).float()


def _task(kind: str, metric: Metric = rmse, loss: Any = None) -> Task:
    methods = {"model": None, "data": None, "kind": kind, "metrics": {"own": metric}}
    return type("Mine", (Task,), methods | ({"loss": loss} if loss else {}))()


def _numpy(output: Tensor, target: Tensor) -> Any:
    return np.abs(output.numpy() - target.numpy()).mean()


def _r2(output: Tensor, target: Tensor) -> Tensor:
    return 1 - (output - target).pow(2).sum() / (target - target.mean()).pow(2).sum()


@pytest.mark.parametrize(
    ("kind", "metric", "shape", "target"),
    [
        ("regression", rmse, (N, 1), VALUES),
        ("regression", rmse, (N,), VALUES[:, None]),
        ("regression", rmse, (N, 1), 1e5 * VALUES),
        ("regression", _numpy, (N, 1), VALUES),
        ("regression", _r2, (N, 1), VALUES),
        ("regression", lambda o, t: (o[:, :1] - t).abs().mean(), (N, 2), VALUES),
        ("regression", lambda o, t: nn.functional.l1_loss(*torch.broadcast_tensors(o, t)), (N, 1), VALUES),
        ("classification", lambda o, t: (o.argmax(dim=1, keepdim=True) == t).float().mean(), (N, 4), CLASSES),
    ],
)
def test_a_metric_that_broadcasts_is_refused(kind: str, metric: Metric, shape: tuple[int, ...], target: Tensor):
    with pytest.raises(TaskError, match=r"Mine.metrics\['own'\]: of right answers only it gives .* fit each other\?"):
        check_own_scores(_task(kind, metric), torch.randn(shape), target)


@pytest.mark.parametrize(
    ("kind", "metric", "shape", "target"),
    [
        ("regression", rmse, (N,), VALUES),
        ("regression", rmse, (N, 1), VALUES[:, None]),
        ("regression", lambda o, t: rmse(o[:, 0], t), (N, 1), VALUES),
        ("regression", lambda o, t: rmse(o.mean(dim=-1), t), (N, 1), VALUES),
        ("regression", lambda o, t: rmse(o[:, 0], t), (N, 1), torch.ones(N)),
        ("regression", lambda o, t: (o[:, 0] - t).mean(), (N, 1), VALUES),  # no pairs are needed
        ("regression", lambda o, t: o.std(unbiased=False), (N, 1), VALUES),  # nor targets
        ("regression", lambda o, t: torch.corrcoef(torch.stack([o[:, 0], t]))[0, 1], (N, 1), VALUES),
        ("regression", lambda o, t: ((o > o.T) == (t[:, None] > t)).float().mean(), (N, 1), VALUES),
        (
            "regression",
            lambda o, t: torch.maximum(0.1 * (t[:, None] - o), 0.9 * (o - t[:, None])).mean(),
            (N, 3),
            VALUES,
        ),
        ("regression", lambda o, t: nn.functional.cross_entropy(o, t.long()), (N, 4), CLASSES.float()),
        ("classification", accuracy, (N, 4), CLASSES),
        ("classification", lambda o, t: o.softmax(dim=1).max(dim=1).values.mean(), (N, 4), CLASSES),
        ("multilabel", micro_f1, (N, 2), LABELS),
    ],
)
def test_a_metric_of_its_own_kind_passes(kind: str, metric: Metric, shape: tuple[int, ...], target: Tensor):
    check_own_scores(_task(kind, metric), torch.randn(shape), target)


def test_a_loss_that_broadcasts_is_refused_and_one_that_draws_at_random_is_not():
    output = torch.randn(N, 1)
    for broken in (lambda self, o, t: (o - t).pow(2).mean(dim=1), lambda self, o, t: (o - t).pow(2).mean(dim=0)):
        with pytest.raises(TaskError, match=r"alone and .* among others: do the shapes of outputs \(6, 1\)"):
            check_own_loss(_task("regression", loss=broken), output, VALUES)
    for sound in (
        lambda self, o, t: (o[:, 0] - t).pow(2),
        lambda self, o, t: (o[:, 0] - t + torch.randn(len(t))).pow(2),
        lambda self, o, t: (o[:, 0] / 0).log() - t,
    ):
        check_own_loss(_task("regression", loss=sound), output, VALUES)


def test_rows_by_which_a_mistake_shows_are_taken_from_a_sorted_column():
    y = torch.cat([torch.zeros(1000), torch.arange(1.0, 5), torch.full((500,), 7.0)])
    assert y[telling_rows(y)].tolist() == [0, 0, 3, 7]
    assert telling_rows(torch.ones(1)).tolist() == [0, 0]
    assert torch.arange(100)[telling_rows(torch.arange(100))].unique().numel() == 3
