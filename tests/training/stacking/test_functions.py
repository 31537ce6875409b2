"""Functions, methods and operators, stacked, give each slot what the plain ones give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.stacking.functions import FUNCTIONS
from tests.training.stacking.alike import Calls, check_alike

FLAT, LINE, IMAGE = (5, 6), (4, 4, 8), (4, 4, 6, 6)
UNARY = [torch.abs, torch.exp, torch.square, torch.sin, torch.cos, torch.tanh, torch.sigmoid, torch.relu, torch.neg]
UNARY += [F.relu, F.relu6, F.leaky_relu, F.elu, F.celu, F.selu, F.gelu, F.silu, F.mish, F.softplus]
UNARY += [F.tanh, F.sigmoid, F.logsigmoid, F.hardtanh, F.hardswish, F.hardsigmoid]
METHODS = ["abs", "exp", "square", "sin", "cos", "relu", "tanh", "sigmoid", "neg", "contiguous", "clone"]


@pytest.mark.parametrize("function", UNARY)
@pytest.mark.parametrize("shape", [FLAT, IMAGE])
def test_a_function_of_each_element(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]):
    assert check_alike(lambda: Calls(function), shape).by_vmap == ()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_each_element(name: str):
    assert check_alike(lambda: Calls(lambda x: getattr(x, name)()), FLAT).by_vmap == ()


@pytest.mark.parametrize("function", [torch.log, torch.log1p, torch.sqrt, torch.rsqrt])
def test_a_function_of_positive_numbers(function: Callable[[Tensor], Tensor]):
    assert check_alike(lambda: Calls(lambda x: function(x * x + 1)), FLAT).by_vmap == ()


class WithOwn(nn.Module):
    """Arithmetic between the input and parameters of lower rank, broadcast as the plain one is."""

    def __init__(self, shape: tuple[int, ...], function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.own, self.function = nn.Parameter(torch.rand(shape) + 0.5), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.own)


@pytest.mark.parametrize("own", [(), (6,), (1, 6)])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: x + w,
        lambda x, w: w - x,
        lambda x, w: x * w,
        lambda x, w: x / w,
        lambda x, w: torch.maximum(x, w),
        lambda x, w: torch.where(x > 0, x, w),
        lambda x, w: torch.addcmul(x, x, w),
        lambda x, w: (x * x + 1) ** w,
    ],
)
def test_arithmetic_with_parameters_is_broadcast(own: tuple[int, ...], function: Callable[[Tensor, Tensor], Tensor]):
    check_alike(lambda: WithOwn(own, function), FLAT)


@pytest.mark.parametrize("own", [(), (6,), (4, 1, 1), (4, 6, 6)])
def test_arithmetic_on_images_is_broadcast(own: tuple[int, ...]):
    check_alike(lambda: WithOwn(own, lambda x, w: x * w + w), IMAGE)


@pytest.mark.parametrize(
    ("shape", "function"),
    [
        (FLAT, lambda x: x.mean(1)),
        (FLAT, lambda x: x.sum(1, keepdim=True)),
        (IMAGE, lambda x: x.mean((2, 3))),
        (IMAGE, lambda x: x.mean(dim=(-1, -2), keepdim=True)),
        (IMAGE, lambda x: x.amax(1)),
        (LINE, lambda x: torch.sum(x, -1)),
        (FLAT, lambda x: torch.softmax(x, 1)),
        (LINE, lambda x: F.log_softmax(x, dim=-1)),
        (LINE, lambda x: torch.matmul(x, x.transpose(1, 2))),
        (LINE, lambda x: x @ x.transpose(1, 2)),
        (IMAGE, lambda x: F.max_pool2d(x, 2)),
        (IMAGE, lambda x: F.avg_pool2d(x, 2)),
        (IMAGE, lambda x: F.adaptive_avg_pool2d(x, 1)),
        (IMAGE, lambda x: F.interpolate(x, scale_factor=2.0)),
        (IMAGE, lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1)),
    ],
)
def test_what_takes_several_elements_together(shape: tuple[int, ...], function: Callable[[Tensor], Tensor]):
    check_alike(lambda: Calls(function), shape)


def test_tied_weights_are_those_of_each_slot():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(torch.tanh(self.one(x)), self.one.weight, self.one.bias)

    check_alike(Tied, FLAT)


def test_functions_and_methods_have_rules():
    assert {torch.relu, "relu", F.gelu, torch.matmul, "mean"} <= set(FUNCTIONS)
