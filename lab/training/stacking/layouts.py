"""How values of a stacked model lie in memory, and the way from one layout to another.

Shapes: k slots, b examples, f features, c channels; a plain value [b, ...] is what the plain module computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import torch
from torch import Tensor


class Layout(StrEnum):
    FEATURES = "features"
    """[k, f, b] of a plain [b, f]: a linear layer is one batched product, and batch norm needs no copy."""

    CHANNELS = "channels"
    """[b, k*c, ...] of a plain [b, c, ...]: a convolution is one grouped convolution."""

    SLOTS = "slots"
    """[k, ...] of a plain [...]: anything else, also what has no examples, such as a parameter."""


class NotStackable(Exception):  # noqa: N818 - an answer, not an error: another path is taken
    """This model has no stacked form; the message says which part and why."""


@dataclass(frozen=True)
class Value:
    """A tensor in a stacked model: how it lies, and the shape of the plain one for the example batch."""

    layout: Layout
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)


Convert: TypeAlias = Callable[[Tensor], Tensor]


def fits(shape: tuple[int, ...], layout: Layout) -> bool:
    """Whether a plain value of this shape can lie in a layout."""
    if layout is Layout.FEATURES:
        return len(shape) == 2
    return layout is Layout.SLOTS or len(shape) >= 3


def input_layout(rank: int) -> Layout:
    """Where examples of a batch [b, ...] of this rank start: features, images, or as they come."""
    return {2: Layout.FEATURES, 4: Layout.CHANNELS}.get(rank, Layout.SLOTS)


def converter(source: Layout, target: Layout, width: int) -> Convert:
    """From one layout to another; both must fit the value.

    Raises:
        NotStackable: features have another rank than channels.
    """
    if source is target:
        return _same
    if {source, target} == {Layout.SLOTS, Layout.FEATURES}:
        return _swap
    if (source, target) == (Layout.SLOTS, Layout.CHANNELS):
        return to_channels
    if (source, target) == (Layout.CHANNELS, Layout.SLOTS):
        return lambda x: from_channels(x, width)
    raise NotStackable(f"no way from {source} to {target}")


def to_channels(x: Tensor) -> Tensor:
    """[k, b, c, ...] -> [b, k*c, ...], the channels innermost in memory for images."""
    flat = x.transpose(0, 1).flatten(1, 2)
    return flat.contiguous(memory_format=torch.channels_last) if flat.ndim == 4 else flat


def from_channels(x: Tensor, width: int) -> Tensor:
    """[b, k*c, ...] -> [k, b, c, ...]."""
    return x.view(x.shape[0], width, -1, *x.shape[2:]).transpose(0, 1)


def _same(x: Tensor) -> Tensor:
    return x


def _swap(x: Tensor) -> Tensor:
    return x.transpose(1, 2)
