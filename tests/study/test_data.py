"""What a study refuses to train on, before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.study.study import Study
from lab.tasks.task import Data, Metric, Split, Task, rmse

SPACE = {"max_lr": {"low": 1e-3, "high": 0.1, "log": True}}
FIXED = {"engine": "local", "lanes": 1, "width": 2, "path": "stacked"}


class Column(Task):
    """A regression whose model gives a column where its targets are plain numbers."""

    kind = "regression"
    metric = "rmse"
    direction = "minimize"
    metrics: Mapping[str, Metric] = {"rmse": lambda output, target: rmse(output[:, 0], target)}

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(3, 1)

    def data(self, split: Split) -> Data:
        seed = {"train": 0, "valid": 1, "test": 2}[split]
        x = torch.randn(40, 3, generator=torch.Generator().manual_seed(seed))
        return x, x.sum(dim=1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output[:, 0] - target).pow(2)


class BroadLoss(Column):
    """Its loss is [n, n] on the way."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).pow(2).mean(dim=1)


class BroadMetric(Column):
    """Its metric is."""

    metrics: Mapping[str, Metric] = {"rmse": rmse}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            BroadLoss(),
            r"the loss of an example is .* do the shapes of outputs \(4, 1\) and targets \(4,\) fit each other",
        ),
        (BroadMetric(), r"BroadMetric.metrics\['rmse'\]: of right answers only it gives .* fit each other"),
    ],
)
def test_what_broadcasts_is_refused_before_anything_trains_also_on_a_fixed_path(
    task: Task, said: str, tmp_path: Path
) -> None:
    study = Study(task, SPACE, trials=4, epochs=1, folder=tmp_path / "run", batch_size=8, execution=FIXED)
    with pytest.raises(TaskError, match=said):
        study.run()
    assert not (tmp_path / "run").exists()
