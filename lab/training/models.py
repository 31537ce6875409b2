"""The models of a lane, by the path they are trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab.tasks.transfer.adapter import Adapted
from lab.training.sequential import SequentialModels
from lab.training.slots import SlotModels
from lab.training.stacking.folded import FoldedModels, stacked_part
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.model import StackedModels
from lab.training.stacking.vmapping import VmapModels

__all__ = ["PATHS", "SlotModels", "build_models"]


PATHS = ("stacked", "vmap", "sequential")
"""Fastest first, where a model allows it."""


def _holds_norms(template: nn.Module) -> bool:
    """Whether a batch norm is in evaluation where its model says that it is being trained."""
    before = template.training
    template.train()
    looked_at = stacked_part(template) if isinstance(template, Adapted) else template
    held = any(isinstance(part, _BatchNorm) and not part.training for part in looked_at.modules())
    template.train(before)
    return held


def build_models(path: str, template: nn.Module, width: int, example: Tensor, device: torch.device) -> SlotModels:
    """The models of a lane on a path: `stacked`, `vmap` or `sequential`.

    Args:
        example: a few of the inputs [b, ...] that it will be given.

    Raises:
        NotStackable: the model cannot be trained on this path; the message names the part.
    """
    if path != "sequential" and _holds_norms(template):
        raise NotStackable(
            "it holds batch norms in evaluation while it is trained, which models that are stacked cannot"
        )
    if path == "stacked" and isinstance(template, Adapted):
        return FoldedModels(template, width, example, device)
    if path == "stacked":
        return StackedModels(template, width, example, device)
    if path == "vmap":
        return VmapModels(template, width, example, device)
    return SequentialModels(width, device)
