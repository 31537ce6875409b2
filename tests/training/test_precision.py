"""Training under autocast: products in bfloat16, everything that is kept in float32.

Shapes: k slots, b examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import SpecError
from lab.schedules import OneCycle
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Outcome, Trial
from lab.tasks.task import Data, Split, Task
from lab.training.device import check_precision
from lab.training.interface import EpochResult
from lab.training.trainer import ModelTrainer
from tests.training.zoo import ZOO, Animal

BF16 = Training({"kind": "adamw"}, 8, precision="bf16")
EPOCHS = 6


class Mlp(nn.Module):
    """What the written-out layers stand for, one below and one above the size that is written directly."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Linear(12, 80), nn.BatchNorm1d(80), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(80, 80), nn.BatchNorm1d(80), nn.ReLU(), nn.Dropout(dropout), nn.Linear(80, 3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Points(Task):
    """Three classes of points."""

    def __init__(self, build: Any = Mlp, shape: tuple[int, ...] = (12,)) -> None:
        self.build, self.shape = build, shape

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed(int(split == "valid"))
        y = torch.arange(96) % 3
        x = torch.randn(96, *self.shape, generator=generator)
        return x + y.view(-1, *[1] * len(self.shape)), y

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self.build()


def trained(path: str, task: Task, width: int = 2, training: Training = BF16) -> tuple[ModelTrainer, list[EpochResult]]:
    """The first slot's epochs, until its trial has ended but one."""
    trainer = ModelTrainer(task, replace(training, path=path), width, {})
    for slot in range(width):
        trainer.start(Assignment(slot, Trial({}, slot, EPOCHS, own_schedule=OneCycle(max_lr=0.01)), slot, 0))
    return trainer, [trainer.epoch()[0] for _ in range(EPOCHS - 1)]


@pytest.mark.parametrize("path", ["stacked", "vmap", "sequential"])
def test_it_learns_and_what_is_kept_is_float32(path: str):
    trainer, results = trained(path, Points())
    assert results[-1].metrics["accuracy"] > 0.9
    assert results[-1].metrics["train_loss"] < 0.6 * results[0].metrics["train_loss"]
    tensors, _ = trainer.save(0)
    kept = {t.dtype for name, t in tensors.items() if t.is_floating_point()}
    assert kept == {torch.float32}


def test_products_are_taken_in_bfloat16():
    seen: list[torch.dtype] = []

    def build() -> Mlp:
        model = Mlp()
        model.body[4].register_forward_hook(lambda layer, args, out: seen.append(out.dtype))
        return model

    trained("sequential", Points(build), width=1)
    assert set(seen) == {torch.bfloat16}


@pytest.mark.parametrize("path", ["stacked", "vmap"])
def test_stacked_models_train_as_plain_autocast_does(path: str):
    """Within what bfloat16 rounds off (8 bits), which is far from what float32 does."""
    _, plain = trained("sequential", Points())
    _, stacked = trained(path, Points())
    _, exact = trained("sequential", Points(), training=replace(BF16, precision="float32"))
    losses = [[result.metrics["train_loss"] for result in results] for results in (plain, stacked, exact)]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert losses[0] != losses[2]


def test_a_trial_is_the_same_whoever_trains_beside_it():
    (two, _), (four, _) = trained("stacked", Points(), 4), trained("stacked", Points(), 4)
    four.stop(1)
    four.epoch()
    two.epoch()
    state, expected = (trainer.save(0)[0] for trainer in (four, two))
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # PyTorch's own, of a plain RMSNorm
@pytest.mark.parametrize("animal", [a for a in ZOO.values() if a.path == "stacked" and not a.codes])
def test_models_as_users_write_them_train_stacked(animal: Animal):
    _, plain = trained("sequential", Points(animal.build, animal.shape))
    _, stacked = trained("stacked", Points(animal.build, animal.shape))
    assert stacked[-1].outcome is not Outcome.DIVERGED
    assert stacked[0].metrics["train_loss"] == pytest.approx(plain[0].metrics["train_loss"], rel=0.05)


def test_a_gpu_without_it_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(SpecError, match=r"execution.precision: 'bf16' is not to be had on Tesla T4; use float32"):
        check_precision("bf16", torch.device("cuda"))
    check_precision("float32", torch.device("cuda"))
    check_precision("bf16", torch.device("cpu"))
