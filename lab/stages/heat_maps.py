"""Where in an image a net sees the class that it names: Grad-CAM, beside the examples of the report.

Shapes: c channels of a feature map, h and w pixels, o outputs.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from lab.stages.diagnostics import Example
from lab.stages.ensemble import BASELINE, Member
from lab.stages.one_module import inputs_for
from lab.stages.predictor import net_of
from lab.tasks.several_targets import Classes, Targets
from lab.tasks.task import Task

_LEAST_SIDE = 4
"""A feature map of fewer places shows little; an earlier one is taken then, as far as there is one."""
_MOST_SIDE = 96
"""Pixels of an overlay, as large as the page shows it: there are two dozen of them."""
_LOSSY_SIDE = 32
"""Pixels from which on it is a JPEG, which is smaller."""
_SHADE = 0.6
"""How much the heat covers of an image where it is greatest."""
_PREFIX = "data:image/"


def heat_map(net: nn.Module, x: Tensor, at: slice) -> Tensor | None:
    """How much each place of the last feature map speaks for the output that is highest, from 0 to 1 [h, w].

    It is the positive part of the map's channels, each times its mean gradient, over the greatest of it: Selvaraju et
    al. 2017 (arXiv 1610.02391), eq. 1 and 2. The map is the last that any of the net's modules takes or gives and that
    has 4 x 4 places, or else more than one.

    Args:
        x: one input [1, ...] as the net takes it.
        at: the outputs among which the highest is explained.

    Returns:
        None where the net has no such map, or nothing in it speaks for the output.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> _ = nn.init.ones_(net[0].weight)
    >>> x = torch.zeros(1, 1, 4, 4)
    >>> x[0, 0, 1, 2] = 3.0
    >>> heat_map(net, x, slice(0, 1))
    tensor([[0., 0., 0., 0.],
            [0., 0., 1., 0.],
            [0., 0., 0., 0.],
            [0., 0., 0., 0.]])
    """
    maps: list[Tensor] = []

    def keep(values: object) -> None:
        if isinstance(values, Tensor) and values.ndim == 4 and values.requires_grad and values.shape[2:].numel() > 1:
            maps.append(values)

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if module is not net and inputs:
            keep(inputs[0])

    def after(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        keep(output)

    hooks = [one.register_forward_pre_hook(before) for one in net.modules()]
    hooks += [one.register_forward_hook(after) for one in net.modules()]
    try:
        with torch.enable_grad():
            # Gradients flow through a body that is not trained too.
            taken = x.detach().requires_grad_(x.is_floating_point()).clone()  # which a net may change in place
            output = net(taken)
    finally:
        for hook in hooks:
            hook.remove()
    maps = [one for one in maps if one is not taken]
    if not isinstance(output, Tensor) or output.ndim != 2 or not maps:
        return None
    own = output[0, at]
    used = torch.autograd.grad(own[own.argmax()], maps, allow_unused=True)
    pairs = [(values.detach(), gradient) for values, gradient in zip(maps, used, strict=True) if gradient is not None]
    large = [pair for pair in pairs if min(pair[0].shape[2:]) >= _LEAST_SIDE]
    if not pairs:
        return None
    values, gradient = (large or pairs)[-1]
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * values).sum(dim=1)[0].relu()
    greatest = float(heat.max())
    return heat / greatest if 0 < greatest < float("inf") else None


def with_heat_maps(
    task: Task,
    folder: Path,
    members: Sequence[Member],
    x: Tensor,
    examples: Mapping[str, tuple[Example, ...]],
) -> dict[str, tuple[Example, ...]]:
    """Examples that are images with a heat map beside each, by the net that counts most; others as they are.

    Args:
        folder: where the members' weights lie.
        x: the test split's inputs [n, ...].
    """
    at, nets = _classes_of(task), [member for member in members if member.role != BASELINE]
    shown = [one for some in examples.values() for one in some if _is_picture(one.shown.get("image"))]
    if at is None or not nets or not shown:
        return dict(examples)
    net = net_of(task, folder, max(nets, key=lambda member: member.weight), x).eval()

    def heated(example: Example) -> Example:
        if not _is_picture(example.shown.get("image")):
            return example
        heat = heat_map(net, task.model_input(inputs_for(net, x[example.index : example.index + 1])), at)
        return example if heat is None else replace(example, heat_map=overlay(example.shown["image"], heat.numpy()))

    return {sort: tuple(map(heated, some)) for sort, some in examples.items()}


def overlay(picture: str, heat: NDArray[np.float32]) -> str:
    """An image with what a heat map [h, w] says over it, from clear to red, as a small data URI.

    Args:
        picture: a data URI of the image.
    """
    image = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).convert("RGB")
    image.thumbnail((_MOST_SIDE, _MOST_SIDE))
    shade = Image.fromarray((255 * _SHADE * heat).round().astype(np.uint8)).resize(
        image.size, Image.Resampling.BILINEAR
    )
    gray = image.convert("L").convert("RGB")
    heated = Image.composite(Image.new("RGB", image.size, "red"), gray, shade)
    stream, form = io.BytesIO(), "JPEG" if max(image.size) > _LOSSY_SIDE else "PNG"
    heated.save(stream, format=form)
    return f"{_PREFIX}{form.lower()};base64," + base64.b64encode(stream.getvalue()).decode()


def _is_picture(address: object) -> bool:
    return isinstance(address, str) and address.startswith(_PREFIX) and ";base64," in address


def _classes_of(task: Task) -> slice | None:
    """The outputs that are of classes or labels; of several targets those of the first that has classes."""
    targets = getattr(task, "targets", None)
    if isinstance(targets, Targets):
        return next((targets.at(name) for name, part in targets.parts.items() if isinstance(part, Classes)), None)
    return None if task.kind == "regression" else slice(None)
