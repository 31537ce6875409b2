"""A traced forward with its operations in the order that costs least, and with the same numbers to the last bit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

RELUS: Collection[Any] = (nn.ReLU, F.relu, torch.relu, "relu")
_POOLS: Collection[Any] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, F.max_pool1d, F.max_pool2d, F.max_pool3d)


def kind(node: fx.Node, modules: Mapping[str, nn.Module]) -> Any:
    """What a node calls: the exact type of a module without hooks, a function, or a method's name; else None."""
    if node.op != "call_module":
        return node.target if node.op in ("call_function", "call_method") else None
    module = modules[str(node.target)]
    return None if hooked(module) else type(module)


def hooked(module: nn.Module) -> bool:
    """Whether more than its own forward runs when it is called."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def pool_before_relu(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    """Let a max pooling go before the ReLU that it alone reads, which then has fewer elements to go through.

    As ReLU keeps the order, the first of a window's largest is the same element before it and after it, unless none is
    above 0; then neither way passes a gradient.
    """
    for relu in list(graph.nodes):
        if kind(relu, modules) not in RELUS or len(relu.all_input_nodes) != 1 or len(relu.users) != 1:
            continue
        (source,), (pool,) = relu.all_input_nodes, relu.users
        alone = len(source.users) == 1  # else others would see what a ReLU in place leaves behind
        if alone and kind(pool, modules) in _POOLS and pool.all_input_nodes == [relu] and not _indices(pool, modules):
            pool.replace_all_uses_with(relu)
            pool.replace_input_with(relu, source)
            relu.replace_input_with(source, pool)
            pool.append(relu)


def _indices(pool: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the places of the largest are asked for as well."""
    if pool.op == "call_module":
        return bool(modules[str(pool.target)].return_indices)
    return len(pool.args) > 6 or bool(pool.kwargs.get("return_indices"))
