"""Layers of a stacked model: k trials' layers of one kind, computed as one operation.

Shapes: k slots, b examples of a batch, f features, c channels. Activations have one of two layouts:
  features  [k, f, b]        so that a linear layer is one batched product and batch norm needs no copy
  image     [b, k*c, h, w]   so that a convolution is one grouped convolution
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.noise import dropout_mask

if TYPE_CHECKING:
    from lab.training.models import StackedModels


class Layout(StrEnum):
    FEATURES = "features"
    IMAGE = "image"


class NotStackable(Exception):  # noqa: N818 - an answer, not an error: another path is taken
    """This model has no stacked form; the message says which part and why."""


Forward: TypeAlias = Callable[[Tensor], Tensor]
Rule: TypeAlias = Callable[["StackedModels", str, Any, Layout], tuple[Forward, Layout]]


def _need(layout: Layout, wanted: Layout, name: str, module: nn.Module) -> None:
    if layout is not wanted:
        raise NotStackable(f"{name}: {type(module).__name__} on a {layout} layout")


def linear(stack: StackedModels, name: str, module: nn.Linear, layout: Layout) -> tuple[Forward, Layout]:
    _need(layout, Layout.FEATURES, name, module)
    weight = stack.parameter(module.weight)  # [k, out, in]
    if module.bias is None:
        return lambda x: torch.bmm(weight, x), layout
    bias = stack.parameter(module.bias).unsqueeze(2)  # [k, out, 1]
    return lambda x: torch.baddbmm(bias, weight, x), layout


def conv2d(stack: StackedModels, name: str, module: nn.Conv2d, layout: Layout) -> tuple[Forward, Layout]:
    _need(layout, Layout.IMAGE, name, module)
    if module.padding_mode != "zeros":
        raise NotStackable(f"{name}: Conv2d with padding_mode {module.padding_mode!r}")
    weight = stack.parameter(module.weight)  # [k, out, in/groups, kh, kw]
    bias = None if module.bias is None else stack.parameter(module.bias)

    def forward(x: Tensor) -> Tensor:
        return F.conv2d(
            x,
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            module.stride,
            module.padding,
            module.dilation,
            module.groups * stack.width,
        )

    return forward, layout


def batch_norm(
    stack: StackedModels, name: str, module: nn.BatchNorm1d | nn.BatchNorm2d, layout: Layout
) -> tuple[Forward, Layout]:
    _need(layout, Layout.FEATURES if isinstance(module, nn.BatchNorm1d) else Layout.IMAGE, name, module)
    if module.momentum is None or not module.track_running_stats or not module.affine:
        raise NotStackable(f"{name}: batch norm without momentum, running statistics or weights")
    weight, bias = stack.parameter(module.weight), stack.parameter(module.bias)  # [k, f]
    mean, var = stack.buffer(f"{name}.running_mean"), stack.buffer(f"{name}.running_var")  # [k, f]
    momentum, eps = module.momentum, module.eps

    def forward(x: Tensor) -> Tensor:
        flat = x.reshape(1, -1, x.shape[-1]) if layout is Layout.FEATURES else x
        out = F.batch_norm(
            flat, mean.view(-1), var.view(-1), weight.flatten(), bias.flatten(), stack.training, momentum, eps
        )
        return out.view(x.shape)

    return forward, layout


def dropout(
    stack: StackedModels, name: str, module: nn.Dropout | nn.Dropout2d, layout: Layout
) -> tuple[Forward, Layout]:
    whole_channels = isinstance(module, nn.Dropout2d)
    if whole_channels:
        _need(layout, Layout.IMAGE, name, module)
    rates = stack.dropout_rates(name)

    def forward(x: Tensor) -> Tensor:
        if not stack.training or not any(rates):
            return x
        k = stack.width
        if layout is Layout.FEATURES:
            return x * dropout_mask(stack.noise, rates, x[0].numel(), x).view(x.shape)
        b, channels, h, w = x.shape
        size = (1, 1) if whole_channels else (h, w)
        mask = dropout_mask(stack.noise, rates, b * (channels // k) * size[0] * size[1], x)
        return x * mask.view(k, b, channels // k, *size).transpose(0, 1).reshape(b, channels, *size)

    return forward, layout


def pooling(stack: StackedModels, name: str, module: nn.Module, layout: Layout) -> tuple[Forward, Layout]:
    _need(layout, Layout.IMAGE, name, module)
    return module, layout


def elementwise(stack: StackedModels, name: str, module: nn.Module, layout: Layout) -> tuple[Forward, Layout]:
    return module, layout


def flatten(stack: StackedModels, name: str, module: nn.Flatten, layout: Layout) -> tuple[Forward, Layout]:
    if module.start_dim != 1 or module.end_dim != -1:
        raise NotStackable(f"{name}: Flatten({module.start_dim}, {module.end_dim})")
    return flatten_image(stack, layout)


def flatten_image(stack: StackedModels, layout: Layout) -> tuple[Forward, Layout]:
    """[b, k*c, h, w] -> [k, c*h*w, b]; features are flat already."""
    if layout is Layout.FEATURES:
        return lambda x: x, layout
    return lambda x: x.reshape(x.shape[0], stack.width, -1).permute(1, 2, 0), Layout.FEATURES


RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear,
    nn.Conv2d: conv2d,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.Dropout: dropout,
    nn.Dropout2d: dropout,
    nn.Flatten: flatten,
    nn.MaxPool2d: pooling,
    nn.AvgPool2d: pooling,
    nn.AdaptiveAvgPool2d: pooling,
    nn.AdaptiveMaxPool2d: pooling,
    nn.ReLU: elementwise,
    nn.LeakyReLU: elementwise,
    nn.ELU: elementwise,
    nn.GELU: elementwise,
    nn.SiLU: elementwise,
    nn.Mish: elementwise,
    nn.Tanh: elementwise,
    nn.Sigmoid: elementwise,
    nn.Hardswish: elementwise,
    nn.Identity: elementwise,
}
"""Exact types: a subclass may have overridden forward."""

ELEMENTWISE_FUNCTIONS = {
    torch.relu,
    torch.tanh,
    torch.sigmoid,
    F.relu,
    F.gelu,
    F.silu,
    F.leaky_relu,
    F.elu,
}
ELEMENTWISE_METHODS = {"relu", "tanh", "sigmoid", "contiguous"}
