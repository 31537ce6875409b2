"""Gradients of a batch in parts are those of the whole, on every path, and those of plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lab.tasks.digits import Digits
from lab.training.gradients import Gradients
from lab.training.models import PATHS, SlotModels, build_models

_CPU = torch.device("cpu")


def _net(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 4)).double()


def _models(path: str) -> SlotModels:
    models = build_models(path, _net(9), 3, torch.randn(2, 5, dtype=torch.float64), _CPU)
    for slot in range(3):
        models.load(slot, _net(slot), slot)
    return models


def _batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    return x, torch.randint(4, (3, 7), generator=generator)


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("path", PATHS)
def test_parts_add_up_to_what_plain_pytorch_accumulates(path: str, at_once: int):
    models, (x, y), active = _models(path), _batch(), [0, 2]
    learned = Gradients(Digits(), models, at_once, _CPU).of(partial(models.forward, active=active), x, y, active)
    assert learned.raised == {}
    for slot in active:
        net, mean = _net(slot), 0.0
        for part, target in zip(x[slot].split(at_once), y[slot].split(at_once), strict=True):
            loss = nn.functional.cross_entropy(net(part), target) * len(part) / 7
            loss.backward()
            mean += float(loss.detach())
        plain = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        torch.testing.assert_close(models.grad(slot), plain, rtol=1e-8, atol=1e-10)
        assert float(learned.losses[slot]) == pytest.approx(mean, rel=1e-8)


class _Picky(Digits):
    """Refuses outputs that are no numbers."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if output.isnan().any():
            raise ValueError("no number")
        return super().loss(output, target)


@pytest.mark.parametrize("bad", [[1], [0, 1, 2]])
def test_a_slot_whose_loss_raises_in_a_later_part_is_alone_with_it(bad: Sequence[int]):
    models, (x, y), active = _models("stacked"), _batch(), [0, 1, 2]
    for slot in bad:
        x[slot, 5] = float("nan")
    learned = Gradients(_Picky(), models, 3, _CPU).of(partial(models.forward, active=active), x, y, active)
    assert {slot: str(error) for slot, (error, _) in learned.raised.items()} == dict.fromkeys(bad, "no number")
    assert all(output.isnan().any() for _, output in learned.raised.values())
    for slot in set(active) - set(bad):
        net = _net(slot)
        nn.functional.cross_entropy(net(x[slot]), y[slot]).backward()
        plain = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        torch.testing.assert_close(models.grad(slot), plain, rtol=1e-8, atol=1e-10)
