"""The models of a lane, by the path they are trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.training.sequential import SequentialModels
from lab.training.slots import SlotModels
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.model import StackedModels

__all__ = ["SlotModels", "build_models"]


def build_models(path: str, template: nn.Module, width: int, example: Tensor, device: torch.device) -> SlotModels:
    """The models of a lane on a path: `stacked` or `sequential`.

    Args:
        example: a few of the inputs [b, ...] that it will be given.

    Raises:
        NotStackable: the path is `stacked` and the model has no stacked form.
    """
    if path == "stacked":
        return StackedModels(template, width, example, device)
    if path != "sequential":
        raise NotStackable(f"no path {path}")
    return SequentialModels(width, device)
