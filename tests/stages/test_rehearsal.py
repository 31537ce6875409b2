"""A study's end, tried before anything trains: what would cost the models is refused, and the rest is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.stages import selection
from lab.stages.final import LONG, Run
from lab.stages.rehearsal import rehearse, rehearsed
from lab.tasks.beside import Beside
from lab.tasks.digits import Digits
from lab.tasks.task import Data, Metric, Split, Task

WORDS, LENGTH = 5, 4


def _nll(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())


class Sequence(Task):
    """Outputs [n, L, V] against targets [n, L], as a language model has them."""

    kind = "regression"
    metric = "nll"
    direction = "minimize"
    metrics: Mapping[str, Metric] = {"nll": _nll}

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Embedding(WORDS, 3), nn.Linear(3, WORDS))

    def data(self, split: Split) -> Data:
        seed = {"train": 0, "valid": 1, "test": 2}[split]
        x = torch.randint(WORDS, (24, LENGTH), generator=torch.Generator().manual_seed(seed))
        return x, (x + 1) % WORDS

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.transpose(1, 2), target, reduction="none").mean(dim=1)


class Mask(Sequence):
    """Logits [n, 1, h, w] against masks [n, h, w]."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Conv2d(2, 1, 3, padding=1)

    metric = "bce"
    metrics: Mapping[str, Metric] = {
        "bce": lambda output, target: nn.functional.binary_cross_entropy_with_logits(output[:, 0], target)
    }

    def data(self, split: Split) -> Data:
        x = torch.randn(12, 2, 6, 6, generator=torch.Generator().manual_seed(len(split)))
        return x, (x[:, 0] > 0).float()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        each = nn.functional.binary_cross_entropy_with_logits(output[:, 0], target, reduction="none")
        return each.mean(dim=(1, 2))


@pytest.mark.parametrize("task", [Sequence(), Mask(), Digits()])
def test_a_study_can_end_with_outputs_of_any_shape(task: Task):
    assert rehearse(task, {"dropout": 0.1}) == ()
    assert rehearsed(task, {"dropout": 0.1}) == "3 untrained models averaged, calibrated, scored and shown"


def _broken(base: type[Task], **attributes: Any) -> Task:
    return type("Bad", (base,), attributes)()


def _raises(*args: Any) -> Any:
    raise ValueError("no\nsuch thing")


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (_broken(Digits, show=_raises), "examples: left out (ValueError: no such thing)"),
        (
            _broken(Sequence, metrics={"nll": _nll, "other": _raises}),
            "the score other: left out (ValueError: no such t",
        ),
        (_broken(Sequence, loss=_raises), "choice: left out (ValueError: no such thing)"),
    ],
)
def test_what_only_stands_beside_is_told_and_refused_by_the_tasks_check_alone(task: Task, line: str):
    assert rehearse(task, {})[0].startswith(line)
    with pytest.raises(TaskError, match="Bad: "):
        rehearsed(task, {})


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (_broken(Digits, predict=_raises), "Bad.predict: ValueError: no such thing"),
        (
            _broken(Digits, predict=lambda self, output: output[:, :, None]),
            "Bad.predict: must give probabilities [n, c]; got",
        ),
        (
            _broken(Sequence, model=lambda self, params: nn.Linear(7, 2)),
            "the model does not take inputs of shape (16, 4)",
        ),
    ],
)
def test_models_that_cannot_be_averaged_are_refused_in_one_line(task: Task, line: str):
    with pytest.raises(TaskError) as caught:
        rehearse(task, {})
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_trained_models_outlive_whatever_fails_beside_them():
    """A test split that the metric was not made for, and a loss that fails."""
    task = _broken(Sequence, metrics={"nll": _raises}, loss=_raises, show=_raises)
    random = torch.Generator().manual_seed(0)
    trained = []
    for seed in range(2):
        run = Run(LONG, seed, seed, {"max_lr": 0.1}, 3, "completed", 0.5, (f"{seed}.safetensors",))
        outputs = (torch.randn(24, LENGTH, WORDS, generator=random) for _ in range(2))
        trained.append(selection.Trained(run, f"{seed}.safetensors", *outputs))
    (_, valid), (_, test) = task.data("valid"), task.data("test")
    beside = Beside()
    ensembled = selection.conclude(task, [t.run for t in trained], trained, {None: valid}, test, beside)
    assert [(m.file, m.weight) for m in ensembled.chosen.members] == [("0.safetensors", 0.5), ("1.safetensors", 0.5)]
    assert ensembled.chosen.epochs == 6
    assert ensembled.examples == {}
    assert [line.partition(":")[0] for line in beside.lacks] == ["choice", "examples", "the score nll"]
