"""Whether two models have one architecture: the same layers, settings, shapes and forward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from lab.training.stacking import dropping
from lab.training.stacking.tracing import Traced

_STORED_ELSEWHERE = {"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
_PLAIN = (int, float, complex, str, bytes, type(None), type, torch.dtype, torch.device, torch.memory_format)


def fingerprint(module: nn.Module) -> list[Any]:
    """Types, attributes and shapes of all layers, dropout rates aside. Equal ones have the same forward.

    What cannot be compared is equal to nothing, so unequal ones may be the same all the same.
    """
    parts: list[Any] = [
        (name, tuple(p.shape), p.dtype, p.requires_grad) for name, p in module.named_parameters(remove_duplicate=False)
    ]
    parts += [(name, tuple(b.shape), b.dtype) for name, b in module.named_buffers()]
    for name, layer in module.named_modules():
        parts.append((name, type(layer), _settings(layer)))
    return parts


def _settings(layer: nn.Module) -> dict[str, Any]:
    """A layer's attributes, the rate of a dropout aside."""
    skipped = _STORED_ELSEWHERE | ({"p"} if is_dropout(layer) else set())
    return {key: _comparable(value) for key, value in vars(layer).items() if key not in skipped}


def is_dropout(layer: nn.Module) -> bool:
    """Whether a layer is a dropout whose rate may differ between slots."""
    return type(layer) in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def layer_rates(module: nn.Module) -> dict[str, float]:
    """The rate of every dropout layer."""
    return {name: float(layer.p) for name, layer in module.named_modules() if is_dropout(layer)}


def _comparable(value: Any) -> Any:
    if isinstance(value, _PLAIN) or callable(value):
        return type(value), value
    if isinstance(value, (list, tuple)):
        return type(value), [_comparable(item) for item in value]
    if isinstance(value, dict):
        return type(value), {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, Tensor):
        return value.dtype, value.tolist()
    return object()


def shapes(module: nn.Module) -> list[Any]:
    """The shapes of all parameters: where they differ, nothing else has to be compared."""
    return [(name, tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()]


def structure(module: nn.Module, traced: Traced) -> list[Any]:
    """As `fingerprint`, by what a trace of its forward shows: slower, and sure where a user's attributes are not.

    A layer that the trace does not look into, such as attention with its heads, is told by its settings.
    """
    parts: list[Any] = shapes(module)
    graphs = (traced.training.graph, traced.evaluation.graph)
    called = {str(node.target) for graph in graphs for node in graph.nodes if node.op == "call_module"}
    for name, layer in module.named_modules():
        parts.append((name, type(layer).__qualname__, "" if is_dropout(layer) else layer.extra_repr()))
        parts.append(_settings(layer) if name in called else {})
    for graph in graphs:
        parts += [(node.op, node.target, *_arguments(node)) for node in graph.nodes]
    return parts


def _arguments(node: fx.Node) -> tuple[str, str]:
    """As text, the rate of a dropout aside."""
    if node.target in dropping.CALLS:
        return repr(node.args[:1] + node.args[2:]), repr({k: v for k, v in node.kwargs.items() if k != "p"})
    return repr(node.args), repr(node.kwargs)
