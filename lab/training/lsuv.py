"""Layer-sequential unit variance: weights by which every layer gives numbers of the same size at the start."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.training.modes import in_evaluation

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MOST = 10
"""Times that a layer is scaled (T_max)."""


@torch.no_grad()
def lsuv(model: nn.Module, batch: Tensor, *, seed: int = 0, tolerance: float = 0.01) -> nn.Module:
    """Draw a net's weights anew: those of each linear or convolutional layer orthogonal, then, in the order in which
    the layers are called, scaled until what each gives for a batch has variance 1 (Mishkin and Matas 2016,
    arXiv 1511.06422, algorithm 1).

    Biases stay as they are, and so do norms, embeddings, layers that are frozen or share their weights, and those
    whose output does not vary. The net is in evaluation meanwhile, and the process's random state stays as it was.

    Args:
        batch: inputs [b, ...] as the net takes them, on its device.
        seed: of the orthogonal weights.
        tolerance: how far from 1 a variance may be.

    Returns:
        The same net.

    Raises:
        TaskError: the batch is no tensor, is empty, or is not finite.

    >>> net = lab.lsuv(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)), torch.randn(64, 8))
    >>> bool((net(torch.zeros(1, 8)) - net[2](torch.relu(net[0].bias))).abs().max() == 0)
    True
    """
    if not isinstance(batch, Tensor) or not batch.numel() or not bool(batch.isfinite().all()):
        raise TaskError("lsuv: the batch is not a tensor of finite inputs [b, ...]")
    with in_evaluation(model):
        layers = _called(model, batch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in layers:
                weight = torch.empty(layer.weight.shape)  # on the host: a GPU has other random numbers
                layer.weight.copy_(nn.init.orthogonal_(weight))
        for layer in layers:
            _scale(model, layer, batch, tolerance)
    return model


def _called(model: nn.Module, batch: Tensor) -> list[Any]:
    """The layers whose weights are drawn, in the order in which they are called."""
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    called: dict[nn.Module, None] = {}
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: called.setdefault(module))
        for module in model.modules()
        if isinstance(module, _LAYERS) and module.weight.requires_grad and owners[id(module.weight)] == 1
    ]
    try:
        model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [*called]


def _scale(model: nn.Module, layer: nn.Module, batch: Tensor, tolerance: float) -> None:
    """Scale one layer's weights until its output has variance 1; those of layers before it are done."""
    outputs: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        for _ in range(_MOST):
            outputs.clear()
            model(batch)
            variance = float(outputs[0].double().var(correction=0))
            if not 0.0 < variance < float("inf") or abs(variance - 1.0) < tolerance:
                return
            layer.weight.div_(variance**0.5)  # type: ignore[operator]
    finally:
        hook.remove()
