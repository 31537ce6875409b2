"""Layers whose backward pass is written out have the gradients of autograd's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lab.training.stacking import fused

K, B, IN, OUT = 3, 5, 4, 2


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("direct", [1, 10**9])
def test_linear_writes_the_gradients_of_a_batched_product(bias: bool, direct: int, monkeypatch: pytest.MonkeyPatch):
    """Written at once, or by way of a copy."""
    monkeypatch.setattr(fused, "_DIRECT", direct)
    x, weight = random(K, IN, B).requires_grad_(), random(K, OUT, IN).requires_grad_()
    own = random(K, OUT).requires_grad_() if bias else None
    weight_grad, bias_grad = torch.empty_like(weight), torch.empty_like(own) if own is not None else None
    out = fused.linear(x, weight.detach(), None if own is None else own.detach(), weight_grad, bias_grad)
    expected = torch.bmm(weight, x) + (0 if own is None else own.unsqueeze(2))
    torch.testing.assert_close(out, expected)
    grad = random(K, OUT, B)
    (x_grad,) = torch.autograd.grad(out, x, grad)
    wanted = torch.autograd.grad(expected, [x, weight, *([own] if own is not None else [])], grad)
    torch.testing.assert_close((x_grad, weight_grad), tuple(wanted[:2]))
    if bias_grad is not None:
        torch.testing.assert_close(bias_grad, wanted[2])


@pytest.mark.parametrize("drops", [True, False])
def test_norm_relu_dropout_is_the_three_of_them(drops: bool):
    x, weight, bias = random(K, IN, B).requires_grad_(), random(K, IN).requires_grad_(), random(K, IN).requires_grad_()
    keep = (random(K, IN, B) > 0).double() if drops else None
    scale = torch.tensor([[1.0], [1.5], [4.0]], dtype=torch.float64) if drops else None
    mean, var = torch.zeros(K, IN, dtype=torch.float64), torch.ones(K, IN, dtype=torch.float64)
    weight_grad, bias_grad = torch.empty_like(weight), torch.empty_like(bias)
    running = (mean, var, 0.1)
    out = fused.norm_relu_dropout(x, weight.detach(), bias.detach(), weight_grad, bias_grad, running, 1e-5, keep, scale)
    plain_mean, plain_var = torch.zeros(K * IN, dtype=torch.float64), torch.ones(K * IN, dtype=torch.float64)
    flat = x.reshape(1, K * IN, B)
    expected = F.batch_norm(flat, plain_mean, plain_var, weight.flatten(), bias.flatten(), True, 0.1, 1e-5)
    expected = F.relu(expected).view(K, IN, B)
    if keep is not None and scale is not None:
        expected = expected * keep * scale.unsqueeze(2)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close((mean.flatten(), var.flatten()), (plain_mean, plain_var))
    grad = random(K, IN, B)
    (x_grad,) = torch.autograd.grad(out, x, grad)
    wanted = torch.autograd.grad(expected, (x, weight, bias), grad)
    torch.testing.assert_close((x_grad, weight_grad, bias_grad), wanted)
