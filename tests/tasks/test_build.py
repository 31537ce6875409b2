"""Models from a task, its hyperparameters and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lab.tasks.build import build_model
from lab.tasks.digits import Digits


class Lazy(Digits):
    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(10))


def test_a_model_follows_from_its_seed_and_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    one, same, other = (build_model(Digits(), {}, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), before)


def test_lazy_layers_learn_their_shapes_from_examples_and_nothing_else():
    examples = torch.rand(4, 64)
    one, same = (build_model(Lazy(), {}, 1, inputs) for inputs in (examples, examples * 2))
    assert one.training
    state = one.state_dict()
    assert tuple(state["0.weight"].shape) == (8, 64)
    assert torch.equal(state["1.running_mean"], torch.zeros(8))
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in state.items())
