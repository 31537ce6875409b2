"""Traced forwards, reordered: the same numbers and gradients, bit by bit, and left alone where they would not be."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.stacking.tracing import trace


class Calls(nn.Module):
    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(x * self.scale)


def _modules(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(2), *layers)


SWAPPED: dict[str, Callable[[], nn.Module]] = {
    "modules": lambda: _modules(nn.ReLU(), nn.MaxPool2d(2)),
    "in place": lambda: _modules(nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)),
    "uneven": lambda: _modules(nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
    "overlapping": lambda: _modules(nn.ReLU(), nn.MaxPool2d(3, stride=1, dilation=2)),
    "functions": lambda: Calls(lambda x: F.max_pool2d(F.relu(x), 2)),
    "in place by a function": lambda: Calls(lambda x: F.max_pool2d(F.relu(x, inplace=True), 2, ceil_mode=True)),
    "method": lambda: Calls(lambda x: F.max_pool2d(x.relu(), 2)),
    "torch": lambda: Calls(lambda x: F.max_pool1d(torch.relu(x.flatten(2)), 4)),
}
LEFT: dict[str, Callable[[], nn.Module]] = {
    "plateau above": lambda: _modules(nn.ReLU6(), nn.MaxPool2d(2)),
    "mean": lambda: _modules(nn.ReLU(), nn.AvgPool2d(2)),
    "read twice": lambda: Calls(lambda x: F.max_pool2d(y := F.relu(x), 2) + y.mean()),
    "source read twice": lambda: Calls(lambda x: F.max_pool2d((y := x + 1).relu(), 2) + y.mean()),
    "places": lambda: Calls(lambda x: F.max_pool2d(F.relu(x), 2, return_indices=True)[0]),
}


def _order(module: nn.Module) -> str:
    """Which comes first."""
    layers = {name: type(layer).__name__.lower() for name, layer in module.named_children()}
    words = " ".join(layers.get(str(node.target), node.name) for node in trace(module).training.graph.nodes)
    assert "pool" in words
    assert "relu" in words
    return "pool" if words.find("pool") < words.find("relu") else "relu"


def _trained(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, and the gradients of input and parameters."""
    x = x.clone().requires_grad_()
    out = module(x)
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    grads = torch.autograd.grad((out * weights).sum(), [x, *module.parameters()])
    return [out, *grads]


@pytest.mark.parametrize("name", SWAPPED)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), levels=st.sampled_from([1, 2, 5, 1000]))
def test_pooling_before_a_relu_changes_no_bit(name: str, seed: int, levels: int) -> None:
    module = SWAPPED[name]().train()
    # Few levels: windows full of ties, of zeros and of what a ReLU drops.
    x = torch.randint(-levels, levels + 1, (3, 2, 7, 9), generator=torch.Generator().manual_seed(seed)) / levels
    assert _order(module) == "pool"
    traced = trace(copy.deepcopy(module)).training.train()
    for ours, expected in zip(_trained(traced, x), _trained(module, x), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("name", LEFT)
def test_what_would_change_is_left_as_it_is(name: str) -> None:
    module = LEFT[name]().train()
    assert _order(module) == "relu"
    x = torch.randn(3, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(trace(copy.deepcopy(module)).training.train()(x), module(x))


def test_a_layer_with_a_hook_stays_where_it_is() -> None:
    module = _modules(nn.ReLU(), nn.MaxPool2d(2))
    module[1].register_forward_hook(lambda layer, inputs, out: out)  # type: ignore[operator]
    assert _order(module) == "relu"
