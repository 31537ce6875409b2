"""Stacked forms of normalisations.

Shapes: k slots, b examples, f features, c channels; layouts as in `layouts`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.noise import MaskBuffer
from lab.training.stacking import fused
from lab.training.stacking.layouts import Layout, fits
from lab.training.stacking.operation import Lowered, Operation, Rule

FEATURES, CHANNELS, SLOTS = Layout.FEATURES, Layout.CHANNELS, Layout.SLOTS


def batch_norm(operation: Operation) -> Lowered:
    module: Any = operation.module
    stack = operation.stack
    layout = FEATURES if operation.inputs[0].rank == 2 else CHANNELS
    if module.track_running_stats and module.momentum is None:
        raise operation.refuse("with a cumulative average")
    weight, bias, mean, var = (
        None if plain is None else stack.tensor(plain)  # [k, f]
        for plain in (module.weight, module.bias, module.running_mean, module.running_var)
    )
    # Flat views of statistics stay views of what `load` fills.
    flat_mean, flat_var = (None if t is None else t.view(-1) for t in (mean, var))
    momentum, eps = module.momentum or 0.0, module.eps

    def forward(x: Tensor) -> Tensor:
        flat = x.reshape(1, -1, x.shape[-1]) if layout is FEATURES else x
        out = F.batch_norm(
            flat,
            flat_mean,
            flat_var,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            stack.training or mean is None,
            momentum,
            eps,
        )
        return out.view(x.shape)

    return Lowered(forward, (layout,), layout)


def norm_relu_dropout(operation: Operation, dropout_name: str | None) -> Lowered:
    """Batch norm of features, ReLU, and perhaps dropout, as one."""
    module: Any = operation.module
    stack = operation.stack
    weight, bias = stack.tensor(module.weight), stack.tensor(module.bias)
    weight_grad, bias_grad = stack.gradient(module.weight), stack.gradient(module.bias)
    mean, var = stack.tensor(module.running_mean), stack.tensor(module.running_var)
    rates = [0.0] if dropout_name is None else stack.dropout_rates(dropout_name)
    buffers: dict[int, MaskBuffer] = {}
    running, eps = (mean, var, module.momentum), module.eps
    assert weight_grad is not None  # `fusible` says so
    assert bias_grad is not None

    def forward(x: Tensor) -> Tensor:
        if not stack.training:
            slope = weight * (var + eps).rsqrt()
            out: Tensor = (x * slope.unsqueeze(2)).add_((bias - mean * slope).unsqueeze(2)).relu_()
            return out
        if x.shape[2] < 2:
            raise ValueError("batch norm needs more than one example to train on")
        keep = scale = None
        if any(rates):
            n = x[0].numel()
            if n not in buffers:
                buffers.clear()
                buffers[n] = MaskBuffer(len(x), n, x)
            flat_keep, flat_scale = buffers[n].draw(stack.noise, rates)
            keep, scale = flat_keep.view(x.shape), flat_scale[:, None]
        return fused.norm_relu_dropout(x, weight, bias, weight_grad, bias_grad, running, eps, keep, scale)

    return Lowered(forward, (FEATURES,), FEATURES)


def fusible(operation: Operation) -> bool:
    """Whether `norm_relu_dropout` can stand for a batch norm and what follows."""
    module = operation.module
    return (
        type(module) is nn.BatchNorm1d
        and operation.inputs[0].rank == 2
        and module.affine
        and module.track_running_stats
        and module.momentum is not None
        and None not in (operation.stack.gradient(module.weight), operation.stack.gradient(module.bias))
    )


def layer_norm(operation: Operation) -> Lowered:
    module: Any = operation.module
    (value,) = operation.inputs
    weight, bias = (None if p is None else operation.stack.tensor(p) for p in (module.weight, module.bias))
    ones = value.rank - len(module.normalized_shape)
    shape, eps = module.normalized_shape, module.eps

    def forward(x: Tensor) -> Tensor:  # [k, b, ..., *shape]
        out = F.layer_norm(x, shape, None, None, eps)
        if weight is None:
            return out
        scale = weight.view(weight.shape[0], *[1] * ones, *shape)
        if bias is None:
            return out * scale
        return torch.addcmul(bias.view_as(scale), out, scale)

    return Lowered(forward, (SLOTS,), SLOTS)


def group_norm(operation: Operation) -> Lowered:
    module: Any = operation.module
    need_channels(operation)
    weight, bias = (None if p is None else operation.stack.tensor(p) for p in (module.weight, module.bias))
    groups, eps = module.num_groups * operation.stack.width, module.eps

    def forward(x: Tensor) -> Tensor:
        if weight is None or bias is None:
            return F.group_norm(x, groups, None, None, eps)
        return F.group_norm(x, groups, weight.flatten(), bias.flatten(), eps)

    return Lowered(forward, (CHANNELS,), CHANNELS)


def rms_norm(operation: Operation) -> Lowered:
    module: Any = operation.module
    weight = None if module.weight is None else operation.stack.tensor(module.weight)
    shape, eps = module.normalized_shape, module.eps
    ones = operation.inputs[0].rank - len(shape)

    def forward(x: Tensor) -> Tensor:
        out = F.rms_norm(x, shape, None, eps)
        return out if weight is None else out * weight.view(weight.shape[0], *[1] * ones, *shape)

    return Lowered(forward, (SLOTS,), SLOTS)


def need_channels(operation: Operation) -> None:
    """A layer for n dimensions takes [b, c, ...] of n more; PyTorch reads one less as a single example."""
    kind, rank = operation.kind, operation.inputs[0].rank
    wanted = int(kind[-2]) + 2 if kind.endswith("d") and kind[-2].isdigit() else rank
    if rank != wanted or not fits(operation.inputs[0].shape, CHANNELS):
        raise operation.refuse(f"on values of {rank} dimensions, examples included")


NORMS: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), batch_norm),
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
    nn.RMSNorm: rms_norm,
}
"""By their exact types."""
