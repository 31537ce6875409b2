"""What a net's layers give while it is trained: mean, spread and what is next to nothing, step by step.

Shapes: s steps, l layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

NEAR_ZERO = 0.05
"""Share of a layer's root mean square, below which an activation is next to nothing. Relative, so that a layer of small
numbers, as embeddings are at first, is not taken for a dead one."""
_MOST_STEPS = 400
_PASSES_ON = (nn.modules.dropout._DropoutNd, nn.Flatten, nn.Unflatten, nn.Identity)
"""What gives nothing of its own."""


@dataclass(frozen=True)
class Layer:
    """A module of a net that gives something of its own."""

    name: str
    kind: str
    """Its class."""


@dataclass(frozen=True)
class Activations:
    """What layers gave over a training, in the order in which they were called."""

    layers: tuple[Layer, ...]
    steps: tuple[int, ...]
    """Those that were looked at, evenly over the training."""
    mean: Tensor
    """[s, l], NaN where a layer was not called."""
    std: Tensor
    """[s, l]"""
    near_zero: Tensor
    """[s, l]: share of activations whose size is below `NEAR_ZERO` of their root mean square."""


class ActivationRecorder:
    """Records what layers give in training, by forward hooks; neither a net's outputs nor any random number changes.

    Args:
        steps: of the training; some of them are looked at where they are many.
        parts: of a step's batch that are computed one after the other.
    """

    def __init__(self, steps: int, parts: int = 1) -> None:
        self._every = max(1, math.ceil(steps / _MOST_STEPS))
        self._parts, self._forwards = parts, 0
        self._layers: dict[str, Layer] = {}
        self._rows: dict[int, dict[str, list[Tensor]]] = {}

    def attach(self, net: nn.Module) -> None:
        """Record this net from now on. What computes without modules (`torch.relu`) is not seen."""
        net.register_forward_pre_hook(self._begun)
        for name, module in _layers(net):
            module.register_forward_hook(self._hook(Layer(name or type(module).__name__, type(module).__name__)))

    def _begun(self, net: nn.Module, inputs: object) -> None:
        if net.training:
            self._forwards += 1

    @property
    def _step(self) -> int:
        """The step that is under way, from 0 on; -1 before the first."""
        return -1 if self._forwards == 0 else (self._forwards - 1) // self._parts

    def _hook(self, layer: Layer) -> Any:
        def look(module: nn.Module, inputs: object, output: object) -> None:
            if module.training and self._step >= 0 and self._step % self._every == 0:
                values = _tensor_of(output)
                if values is not None and values.numel():
                    self._layers.setdefault(layer.name, layer)
                    self._rows.setdefault(self._step, {}).setdefault(layer.name, []).append(_stats(values))

        return look

    @property
    def recorded(self) -> Activations:
        """What was recorded so far. A layer that is called several times in a step has the mean of these."""
        steps = tuple(self._rows)
        blank = torch.full((3,), math.nan)
        rows = [
            [torch.stack(row[name]).mean(dim=0).cpu() if name in row else blank for name in self._layers]
            for row in self._rows.values()
        ]
        numbers = torch.stack([torch.stack(row) for row in rows]) if rows else torch.zeros(0, 0, 3)
        return Activations(tuple(self._layers.values()), steps, *numbers.unbind(dim=-1))


def _layers(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that give something of their own: those without parts, and those with parameters beside their parts."""
    for name, module in net.named_modules():
        leaf = next(module.children(), None) is None
        own = next(module.parameters(recurse=False), None) is not None
        if (leaf or own) and not isinstance(module, _PASSES_ON):
            yield name, module


def _tensor_of(output: object) -> Tensor | None:
    """The numbers that a layer gave: of several, as an LSTM gives, the first."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, Tensor) and output.is_floating_point() and not output.is_sparse else None


@torch.no_grad()
def _stats(output: Tensor) -> Tensor:
    """Mean, standard deviation and the share of what is next to nothing, [3]."""
    values = output.detach().float()
    least = NEAR_ZERO * values.square().mean().sqrt()
    return torch.stack([values.mean(), values.std(correction=0), (values.abs() <= least).float().mean()])
