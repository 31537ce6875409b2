"""Under a schedule of every kind, the stacked loop gives the weights of a plain PyTorch loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lab.schedules import Scale, Schedule
from lab.training.optimizer import SGD, AdamW, RowOptimizer, Step
from lab.training.stacking.model import StackedModels
from tests.schedules.examples import PLAIN

STEPS = 100


def build(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).double()


def batches() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(STEPS, 16, 5, generator=generator, dtype=torch.float64)
    return x, (x[..., :3].sum(dim=2) > 0).long() + (x[..., 3] > 1).long()


def plain(schedule: Schedule, kind: str, seed: int) -> nn.Module:
    model = build(seed)
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), eps=1e-5)
        if kind == "adamw"
        else torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    )
    scheduler = schedule.to_torch(optimizer, STEPS)
    for x, y in zip(*batches(), strict=True):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(x), y))
        optimizer.step()
        scheduler.step()
    return model


def stacked(schedule: Schedule, kind: str) -> StackedModels:
    models = StackedModels(build(0), 2, torch.ones(3, 5).double(), torch.device("cpu"))
    optimizer: RowOptimizer = AdamW(beta2=0.99, eps=1e-5) if kind == "adamw" else SGD()
    states = []
    for slot in range(2):
        models.load(slot, build(slot), slot)
        states.append(optimizer.state(models.row(slot)))
    curves = [curve.tolist() for curve in schedule.curves(None, STEPS)]
    for step, (x, y) in enumerate(zip(*batches(), strict=True)):
        output = models.forward(x.expand(2, *x.shape), (0, 1))
        loss = sum(nn.functional.cross_entropy(output[slot], y) for slot in range(2))
        assert isinstance(loss, torch.Tensor)
        models.backward(loss, (0, 1))
        for slot in range(2):
            optimizer.step(Step(models.row(slot), models.grad(slot), states[slot], *(curve[step] for curve in curves)))
    return models


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("name", PLAIN)
def test_every_schedule_trains_as_in_a_plain_loop(name: str, kind: str) -> None:
    schedule = Scale(schedule=PLAIN[name], factor=0.02)  # at a peak of 1 rounding errors grow without end
    models = stacked(schedule, kind)
    for slot in range(2):
        expected = plain(schedule, kind, slot).state_dict()
        for name, tensor in models.tensors(slot).items():
            if name.endswith("num_batches_tracked"):
                continue  # plain bookkeeping, which nothing reads
            torch.testing.assert_close(tensor, expected[name], rtol=1e-8, atol=1e-8)
