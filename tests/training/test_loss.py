"""The loss of all slots at once is each slot's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lab.tasks.digits import Digits
from lab.training.loss import slot_losses


class Squared(Digits):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(dim=1)


class Smoothed(Digits):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none", label_smoothing=0.1)


@pytest.mark.parametrize("task", [Digits(), Smoothed(), Squared()])
def test_each_slot_has_the_mean_loss_of_its_examples(task: Digits):
    output = torch.randn(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = output.roll(1, 0) if isinstance(task, Squared) else torch.arange(21).view(3, 7) % 4
    found = slot_losses(task, output, target)
    expected = torch.stack([task.loss(output[slot], target[slot]).mean() for slot in range(3)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
