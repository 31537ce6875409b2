"""Stacked forms of dropout, as a layer and as a function: each slot has its own rate and its own stream.

Shapes: k slots, b examples, c channels; layouts as in `layouts`.
"""

from __future__ import annotations

import math

from torch import Tensor, fx, nn
from torch.nn import functional as F

from lab.training.noise import dropout_mask
from lab.training.stacking.layouts import Layout
from lab.training.stacking.operation import Lowered, Operation

CALLS = {F.dropout: False, F.dropout1d: True, F.dropout2d: True, F.dropout3d: True}
"""Dropout as a function, and whether it drops whole channels."""

_OF_CALL = "call of "


def layer(operation: Operation) -> Lowered:
    return _dropout(operation, operation.name, not isinstance(operation.module, nn.Dropout))


def call(operation: Operation, whole_channels: bool) -> Lowered:
    if not operation.argument(2, "training", True):
        layout = operation.inputs[0].layout
        return Lowered(lambda x: x, (layout,), layout)
    return _dropout(operation, _OF_CALL + operation.name, whole_channels)


def call_rates(traced: fx.GraphModule) -> dict[str, float]:
    """The rates of all dropout functions in a graph, under the names that `call` has for them."""
    return {
        _OF_CALL + node.name: float(node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5))
        for node in traced.graph.nodes
        if node.op == "call_function" and node.target in CALLS
    }


def _dropout(operation: Operation, name: str, whole_channels: bool) -> Lowered:
    stack = operation.stack
    if whole_channels and operation.inputs[0].rank < 3:
        raise operation.refuse(f"on values of {operation.inputs[0].rank} dimensions, examples included")
    rates = stack.dropout_rates(name)
    layout = Layout.CHANNELS if whole_channels else operation.inputs[0].layout

    def on_slots(x: Tensor) -> Tensor:
        if not stack.training or not any(rates):
            return x
        return x * dropout_mask(stack.noise, rates, x[0].numel(), x).view(x.shape)

    def on_channels(x: Tensor) -> Tensor:
        if not stack.training or not any(rates):
            return x
        k, b, channels = stack.width, x.shape[0], x.shape[1] // stack.width
        size = (1,) * (x.ndim - 2) if whole_channels else tuple(x.shape[2:])
        mask = dropout_mask(stack.noise, rates, b * channels * math.prod(size), x)
        return x * mask.view(k, b, channels, *size).transpose(0, 1).reshape(b, k * channels, *size)

    return Lowered(on_channels if layout is Layout.CHANNELS else on_slots, (layout,), layout)
