"""One flat row of parameters a slot, views of which are what layers compute with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.model import StackedModels
from lab.training.stacking.vmapping import VmapModels
from tests.training.stacking.alike import CPU, SLOTS, inputs, seeded, stacked_of


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_a_row_is_the_models_parameters_in_their_order():
    stacked, plain = stacked_of(net, inputs((5, 3)))
    for slot, module in enumerate(plain):
        assert torch.equal(stacked.row(slot), torch.cat([p.detach().flatten() for p in module.parameters()]))
        assert stacked.row(slot).is_contiguous()


def test_what_is_written_into_a_row_is_computed_with():
    x = inputs((5, 3))
    stacked, _ = stacked_of(net, x)
    stacked.training = False
    before = stacked.forward(x, range(SLOTS)).detach().clone()
    stacked.row(1).mul_(2)
    after = stacked.forward(x, range(SLOTS)).detach()
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_a_slots_tensors_are_those_of_the_module_that_was_loaded():
    stacked, plain = stacked_of(net, inputs((5, 3)))
    own = stacked.tensors(2)
    assert set(own) == set(plain[2].state_dict())
    assert all(torch.equal(own[name], tensor) for name, tensor in plain[2].state_dict().items())


def test_frozen_parameters_are_kept_and_not_trained():
    def frozen() -> nn.Module:
        module = net()
        module[0].weight.requires_grad_(False)  # type: ignore[index]
        return module

    x = inputs((5, 3))
    stacked, plain = stacked_of(frozen, x)
    assert stacked.row(0).numel() == sum(p.numel() for p in plain[0].parameters() if p.requires_grad)
    assert torch.equal(stacked.tensors(1)["0.weight"], plain[1].get_parameter("0.weight"))


def test_parameters_of_several_dtypes_are_refused():
    mixed = net()
    mixed[2].double()  # type: ignore[index]
    with pytest.raises(NotStackable, match="parameters of several dtypes"):
        VmapModels(mixed, 2, inputs((5, 3))[0], CPU)


def test_a_model_takes_another_of_its_architecture_only():
    stacked = StackedModels(seeded(net, 0), 2, inputs((5, 3))[0], CPU)
    assert stacked.takes(seeded(net, 1))
    assert not stacked.takes(nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)).double())
