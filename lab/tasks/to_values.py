"""A net's outputs as values in the units of their target. b examples, o outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.tasks.table.target import Target


class ToValues(nn.Module):
    """Outputs [b, o] times a factor and plus a constant each: a net that says 0 says the mean.

    Args:
        scale: of each output, [o]; 1 of a class's.
        shift: of each output, [o]; 0 of a class's.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def with_values(net: nn.Module, target: Target | None) -> nn.Module:
    """A net whose outputs are values where the target has some, by their mean and standard deviation in training."""
    if target is None or target.kind != "regression":
        return net
    scale: list[float] = []
    shift: list[float] = []
    for part in target.by_kind:
        values = part.kind == "regression"
        scale += part.std if values else [1.0] * len(part.class_names)
        shift += part.mean if values else [0.0] * len(part.class_names)
    last = ToValues(torch.tensor(scale), torch.tensor(shift))
    if isinstance(net, nn.Sequential) and hasattr(net, "linear"):  # a head, whose parts keep their names
        net.add_module("values", last)
        return net
    return nn.Sequential(net, last)
