"""The loss of all slots at once is each slot's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lab.tasks.digits import Digits
from lab.training.loss import isolated_losses, slot_losses


class Squared(Digits):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(dim=1)


class Smoothed(Digits):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none", label_smoothing=0.1)


class Attribute(Digits):
    def __init__(self) -> None:
        super().__init__()
        self.loss = lambda output, target: 100 * F.cross_entropy(output, target, reduction="none")  # type: ignore[method-assign]


@pytest.mark.parametrize("task", [Digits(), Smoothed(), Squared(), Attribute()])
def test_each_slot_has_the_mean_loss_of_its_examples(task: Digits):
    output = torch.randn(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = output.roll(1, 0) if isinstance(task, Squared) else torch.arange(21).view(3, 7) % 4
    losses = slot_losses(task, output, target)
    expected = torch.stack([task.loss(output[slot], target[slot]).mean() for slot in range(3)])
    torch.testing.assert_close(losses, expected, rtol=0, atol=1e-12)


class Strict(Digits):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if output.isnan().any():
            raise ValueError("input contains NaN")
        return super().loss(output, target).clone()


@pytest.mark.parametrize("active", [[0, 1, 2], [0, 2]])
def test_what_the_loss_refuses_is_its_own_slots_matter(active: list[int]):
    output, target = torch.randn(3, 7, 4), torch.arange(21).view(3, 7) % 4
    output[1, 2, 3] = float("nan")
    losses, raised = isolated_losses(Strict(), output, target, active)
    assert {slot: str(error) for slot, error in raised.items()} == ({1: "input contains NaN"} if 1 in active else {})
    for slot in (0, 2):
        assert losses[slot] == slot_losses(Strict(), output[[slot]], target[[slot]])[0]


def test_memory_that_runs_out_is_no_matter_of_a_slot():
    class Large(Digits):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        isolated_losses(Large(), torch.zeros(2, 3, 4), torch.zeros(2, 3), [0, 1])
