"""Layers whose forward and backward passes are written out, since autograd's parts cost a tiny model most of its time.

Gradients of parameters go straight into the flat rows that the optimizer reads. All of it works row by row, so a
slot's numbers do not depend on its neighbours'. Broadcast `mul` and `add` are vectorised where `addcmul` is not.

Under autocast products are taken in its dtype and everything else in that of the weights: autocast sees into forward
passes, not into backward passes that are written out.

Shapes: k slots, b examples, f features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_DIRECT = 4096
"""Products of this many elements a slot are written to strided rows at once; smaller ones are copied, which is cheaper
than what the batched product does before it writes there."""


class Linear(torch.autograd.Function):
    """weight [k, out, in] times x [k, in, b] plus bias [k, out]; gradients into `weight_grad` and `bias_grad`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, weight_grad: Tensor, bias_grad: Tensor | None
    ) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        ctx.save_for_backward(x, weight)
        ctx.grads = weight_grad, bias_grad
        return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias.unsqueeze(2), weight, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        x, weight = ctx.saved_tensors
        weight_grad, bias_grad = ctx.grads
        if weight_grad[0].numel() < _DIRECT or weight_grad.dtype != grad.dtype:
            weight_grad.copy_(torch.bmm(grad, x.transpose(1, 2)))
        else:
            torch.bmm(grad, x.transpose(1, 2), out=weight_grad)
        if bias_grad is not None:
            torch.sum(grad, 2, dtype=bias_grad.dtype, out=bias_grad)
        return torch.bmm(weight.transpose(1, 2), grad) if ctx.needs_input_grad[0] else None, None, None, None, None


class NormReluDropout(torch.autograd.Function):
    """Batch norm with the batch's statistics, ReLU, and dropout by a mask of ones and zeros.

    As the scale 1/(1 - rate) is positive, it may go through the ReLU into weight and bias; the output then tells
    which elements pass a gradient, and no mask is kept.

    Args:
        x: [k, f, b].
        weight, bias, mean, var: [k, f]; the running mean and variance are updated in place.
        keep: [k, f, b] or None. scale: [k, 1] or None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        weight_grad: Tensor,
        bias_grad: Tensor,
        running: tuple[Tensor, Tensor, float] | None,
        eps: float,
        keep: Tensor | None,
        scale: Tensor | None,
    ) -> Tensor:
        b = x.shape[2]
        x = x.to(weight.dtype)
        mean = x.mean(2)
        centred = x - mean.unsqueeze(2)
        var = (centred * centred).mean(2)
        rstd = (var + eps).rsqrt_()
        if running is not None:
            running_mean, running_var, momentum = running
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * (b / (b - 1)), momentum)
        slope, start = rstd * weight, bias
        if scale is not None:
            slope, start = slope * scale, start * scale
        out = centred.mul_(slope.unsqueeze(2)).add_(start.unsqueeze(2)).relu_()
        if keep is not None:
            out.mul_(keep)
        ctx.save_for_backward(x, mean, rstd, weight, out)
        ctx.scale, ctx.grads = scale, (weight_grad, bias_grad)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, weight, out = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(grad, out, 0)  # zero where the output is
        if ctx.scale is not None:
            weight = weight * ctx.scale
        x_grad, *own = torch.ops.aten.native_batch_norm_backward(
            _one_example(passed),
            _one_example(x),
            weight.reshape(-1),
            None,
            None,
            mean.view(-1),
            rstd.view(-1),
            True,
            0.0,
            [True, True, True],
        )
        for into, sums in zip(ctx.grads, own, strict=True):
            if ctx.scale is None:
                into.copy_(sums.view(into.shape))
            else:
                torch.mul(sums.view(into.shape), ctx.scale, out=into)
        return x_grad.view(x.shape), *[None] * 8


def _one_example(x: Tensor) -> Tensor:
    """[1, k*f, b] of [k, f, b]: PyTorch's batch norm has the features of all slots as those of one long example."""
    return x.reshape(1, -1, x.shape[2])


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, weight_grad: Tensor, bias_grad: Tensor | None) -> Tensor:
    """See `Linear`."""
    out: Tensor = Linear.apply(x, weight, bias, weight_grad, bias_grad)  # type: ignore[no-untyped-call]
    return out


def norm_relu_dropout(x: Tensor, *rest: Any) -> Tensor:
    """See `NormReluDropout`."""
    out: Tensor = NormReluDropout.apply(x, *rest)  # type: ignore[no-untyped-call]
    return out
