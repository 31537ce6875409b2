"""A stacked forward as steps over registers: odd inputs, constants, sizes, several outputs, and what has no rule."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lab.training.stacking.layouts import NotStackable
from tests.training.stacking.alike import Calls, check_alike, inputs, stacked_of


class Constants(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("shift", torch.arange(4.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.shift * 2 + 1.5


def test_buffers_and_numbers():
    assert check_alike(Constants, (5, 4)).by_vmap == ()


def test_sizes_that_follow_from_the_batch():
    check_alike(lambda: Calls(lambda x: x.reshape(x.size(0), x.size(1) * x.size(2))), (5, 4, 3))
    check_alike(lambda: Calls(lambda x: x / x.shape[0]), (5, 4))


def test_another_batch_than_the_example():
    stacked, plain = stacked_of(Constants, inputs((5, 4)))
    stacked.training = False
    x = inputs((9, 4))
    with torch.no_grad():
        output = stacked.forward(x, range(3))
        assert all(torch.allclose(output[slot], module.eval()(x[slot])) for slot, module in enumerate(plain))


def test_what_has_no_rule_runs_by_vmap_and_is_named():
    stacked = check_alike(lambda: Calls(lambda x: torch.cumsum(x, 1)), (5, 4))
    assert stacked.by_vmap == ("cumsum",)


def test_a_norm_its_activation_and_dropout_are_one_step():
    chain = check_alike(
        lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.0), nn.Linear(6, 2)), (5, 4)
    )
    assert len(chain._program._steps) == 5, "to features, linear, norm with what follows, linear, and back"


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_a_forward_of_several_inputs_is_refused():
    with pytest.raises(NotStackable, match="it does not run on its examples"):
        stacked_of(Two, inputs((5, 4)))
