"""By vmap, of one operation and of a whole model, each slot computes as the plain model does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.vmapping import VmapModels
from tests.training.stacking.alike import CPU, SLOTS, Calls, check_alike, inputs, seeded


class Loops(nn.Module):
    """Steered by what is no data: torch.fx cannot trace it, and vmap can run it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, 4), nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(x.shape[1]) // 2):
            x = torch.tanh(self.layer(x))
        return self.dropout(x)


def test_a_whole_model_is_the_plain_one_of_each_slot():
    x = inputs((5, 4))
    models = VmapModels(seeded(Loops, 9), SLOTS, x[0], CPU)
    plain = [seeded(Loops, seed) for seed in range(SLOTS)]
    for slot, module in enumerate(plain):
        models.load(slot, module, slot)
    models.training = True
    output = models.forward(x, range(SLOTS))
    models.backward(output.square().sum(), range(SLOTS))
    for slot, module in enumerate(plain):
        expected = module(x[slot])
        expected.square().sum().backward()
        torch.testing.assert_close(output[slot], expected)
        torch.testing.assert_close(models.grad(slot), torch.cat([p.grad.flatten() for p in module.parameters()]))


def test_a_dropout_has_the_rate_of_its_slot():
    x = torch.ones(1, 300, 40)
    models = VmapModels(nn.Sequential(nn.Identity(), nn.Dropout(0.5)), 2, x[0], CPU)
    for slot, rate in enumerate((0.0, 0.8)):
        models.load(slot, nn.Sequential(nn.Identity(), nn.Dropout(rate)), slot)
    models.training = True
    zeros = (models.forward(x.expand(2, 300, 40), range(2)) == 0).double().mean((1, 2))
    assert zeros.tolist() == [0.0, pytest.approx(0.8, abs=0.02)]


def test_one_operation_of_a_stacked_model():
    stacked = check_alike(lambda: Calls(lambda x: torch.logcumsumexp(x, 1)), (5, 4))
    assert stacked.by_vmap


def test_data_that_steer_a_forward_are_refused():
    class Steered(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool(x.sum() > 0) else -x

    with pytest.raises(NotStackable, match="it cannot be run for all slots at once"):
        VmapModels(Steered(), 2, torch.randn(5, 4), CPU)
    with pytest.raises(NotStackable, match="a dropout and nothing else"):
        VmapModels(nn.Dropout(0.5), 2, torch.randn(5, 4), CPU)
