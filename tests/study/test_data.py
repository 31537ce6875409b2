"""What a study refuses to train on, before it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import RecordError, TaskError
from lab.study.data import open_data
from lab.study.study import Study
from lab.tasks.description import Description
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


class Doubted(Column):
    """Looked at, it has a doubt."""

    looks = 0

    def describe(self) -> Description:
        self.looks += 1
        return Description(facts=("40 rows",), warnings=("few rows",))


def test_a_resumed_study_says_what_it_doubted_and_looks_at_the_same_data_no_more(tmp_path: Path) -> None:
    task = Doubted()
    study = Study(task, SPACE, trials=2, epochs=1, folder=tmp_path / "run", batch_size=8, execution=FIXED)
    study.run(until="explore")
    kept = study.record.task_path.read_text()
    _, doubts = open_data(study.spec, study.record)
    assert doubts == ("few rows",)
    assert task.looks == 1
    assert study.record.task_path.read_text() == kept
    study.record.task_path.write_text(json.dumps({**json.loads(kept), "warnings": 3}))
    with pytest.raises(RecordError, match=r"task\.json: warnings: 3 is no list of lines; restore it from a copy$"):
        study.run(until="explain")


class Counting(Column):
    """Notes the threads that its models are tried on."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        self.threads.add(torch.get_num_threads())
        return super().loss(output, target)


def test_a_few_examples_are_tried_on_one_thread(tmp_path: Path) -> None:
    task, before = Counting(), torch.get_num_threads()
    study = Study(task, SPACE, folder=tmp_path / "run", batch_size=8, execution=FIXED)
    try:
        torch.set_num_threads(2)
        open_data(study.spec, study.record)
        assert task.threads == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
