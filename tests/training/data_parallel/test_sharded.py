"""How a model is divided among processes; what they train is tested by the trainer's tests."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.training.data_parallel.peers import Peers
from lab.training.data_parallel.sharded import ShardedModels, parts


class Block(nn.Module):
    """One of a transformer's, whose attention reads weights of a layer that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.steps = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x


class Net(nn.Module):
    """Its head is its embedding, as language models have it."""

    def __init__(self, is_tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.stages = nn.ModuleList([nn.ModuleList([Block(), Block()]), nn.Sequential(Block())])
        self.head = nn.Sequential(nn.Linear(8, 50, bias=False))
        if is_tied:
            self.head[0].weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return x


class _Alone:
    """The one process that there is."""

    rank, size, device, sharded = 0, 1, torch.device("cpu"), True


def test_a_single_number_is_refused_by_its_name() -> None:
    net = nn.Sequential(Block())
    net.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    with pytest.raises(TaskError, match=r"model: scale is a single number, which cannot be divided"):
        ShardedModels(cast(Peers, _Alone()), net)


def test_parts_are_what_is_called_as_a_module_and_large_enough() -> None:
    net = Net(is_tied=False)
    listed, sequential = net.stages
    assert parts(net, 700) == [*listed, sequential[0], net]
    assert parts(net, 10**9) == [net]
    assert net.head[0] in parts(net, 300)


def test_steps_of_a_block_are_parts_where_they_are_large_enough_by_themselves() -> None:
    block = nn.Sequential(Block())
    assert parts(block, 260) == [block[0].steps[0], block[0].steps[2], block[0], block]


def test_a_tied_weight_stays_with_what_uses_it_too() -> None:
    net = Net(is_tied=True)
    assert net.head[0] not in parts(net, 300)
