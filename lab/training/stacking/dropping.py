"""Stacked forms of dropout, as a layer and as a function: each slot has its own rate and its own stream.

Shapes: k slots, b examples, c channels; layouts as in `layouts`.
"""

from __future__ import annotations

import math

from torch import Tensor, fx, nn
from torch.nn import functional as F

from lab.training.noise import dropout_mask
from lab.training.stacking.layouts import Layout
from lab.training.stacking.operation import Built, Site

CALLS = {F.dropout: False, F.dropout1d: True, F.dropout2d: True, F.dropout3d: True}
"""Dropout as a function, and whether it drops whole channels."""

_OF_CALL = "call of "


def layer(site: Site) -> Built:
    return _dropout(site, site.name, not isinstance(site.module, nn.Dropout))


def call(site: Site, whole_channels: bool) -> Built:
    if not site.argument(2, "training", True):
        layout = site.inputs[0].layout
        return Built(lambda x: x, (layout,), layout)
    return _dropout(site, _OF_CALL + site.name, whole_channels)


def call_rates(traced: fx.GraphModule) -> dict[str, float]:
    """The rates of all dropout functions in a graph, under the names that `call` has for them."""
    return {
        _OF_CALL + node.name: float(node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5))
        for node in traced.graph.nodes
        if node.op == "call_function" and node.target in CALLS
    }


def _dropout(site: Site, name: str, whole_channels: bool) -> Built:
    stack = site.stack
    if whole_channels and site.inputs[0].rank < 3:
        raise site.refuse(f"on values of {site.inputs[0].rank} dimensions, examples included")
    rates = stack.dropout_rates(name)
    layout = Layout.CHANNELS if whole_channels else site.inputs[0].layout

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

    return Built(on_channels if layout is Layout.CHANNELS else on_slots, (layout,), layout)
