"""Augmentation of whole batches on their device, by what `Augmentation` drew for each example.

Shapes: k slots, b examples of a batch, c channels, h and w pixels, n classes; draws are [k, b, 9].
"""

from __future__ import annotations

import torch
from torch import Tensor

from lab.tasks.balance import soft
from lab.tasks.images.augmentation import CUT_SIDE, CUT_X, CUT_Y, DOWN, FLIP, PARTNER, RIGHT, SHARE, SMOOTHING


def augment(x: Tensor, y: Tensor, draws: Tensor, classes: int, exclusive: bool | None = None) -> tuple[Tensor, Tensor]:
    """Augmented images and soft targets [k, b, n] for normalised images [k, b, c, h, w].

    Args:
        y: classes [k, b], or their shares or labels [k, b, n].
        exclusive: whether an example is of one class; None: where `y` are classes.
    """
    images = varied(x, draws)
    smoothing = draws[..., SMOOTHING, None]
    spread = 1 / classes if (y.ndim == 2 if exclusive is None else exclusive) else 0.5
    target = soft(y, classes).to(x.dtype) * (1 - smoothing) + smoothing * spread
    if _any(draws[..., SHARE] < 1):
        images, target = _mixed(images, target, draws)
    return images, target


def varied(x: Tensor, draws: Tensor) -> Tensor:
    """Normalised images [k, b, c, h, w], mirrored, shifted and cut, each by itself."""
    flat = draws.flatten(0, 1)
    images = _move(x.flatten(0, 1), flat)
    if _any(draws[..., CUT_SIDE] > 0):
        images = _cut(images, flat)
    return images.view(x.shape)


def views_of(x: Tensor, flip: bool, shift: int) -> list[Tensor]:
    """Normalised images [n, c, h, w] as they are, mirrored if `flip`, and each of these moved by `shift` pixels up,
    down, left and right where that is more than 0, the border reflected."""
    straight = [x, x.flip(-1)] if flip else [x]
    moves = ((-shift, 0), (shift, 0), (0, -shift), (0, shift)) if shift else ()
    return straight + [_moved(image, down, right) for down, right in moves for image in straight]


def _moved(x: Tensor, down: int, right: int) -> Tensor:
    height, width = x.shape[-2:]
    rows = _reflected(torch.arange(height, device=x.device) - down, height)
    return x[..., rows, :][..., _reflected(torch.arange(width, device=x.device) - right, width)]


def _any(said: Tensor) -> bool:
    """Whether anything is to be done, where asking is cheaper than doing it: an accelerator would be waited for."""
    return said.device.type != "cpu" or bool(said.any())


def _move(x: Tensor, draws: Tensor) -> Tensor:
    """Mirrored and shifted, by one gathering of [m, c, h * w]."""
    height, width = x.shape[2:]
    rows = _reflected(torch.arange(height, device=x.device) - draws[:, DOWN, None], height)  # [m, h]
    columns = torch.arange(width, device=x.device)
    mirrored = torch.where(draws[:, FLIP, None] > 0, width - 1 - columns, columns)
    columns = _reflected(mirrored - draws[:, RIGHT, None], width)  # [m, w]
    pixels = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # [m, h * w]
    flat = x.flatten(2)
    return flat.gather(2, pixels[:, None, :].expand_as(flat)).view(x.shape)


def _mixed(images: Tensor, target: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Each example with its partner of the same slot."""
    slot = torch.arange(len(images), device=images.device)[:, None]
    partner, share = draws[..., PARTNER].long(), draws[..., SHARE, None]
    mixed = share[..., None, None] * images + (1 - share[..., None, None]) * images[slot, partner]
    return mixed, share * target + (1 - share) * target[slot, partner]


def _reflected(positions: Tensor, n: int) -> Tensor:
    """Positions beyond 0..n-1 reflected at the borders, without repeating them."""
    if n == 1:
        return torch.zeros_like(positions, dtype=torch.int64)
    period = 2 * (n - 1)
    inside = positions.long() % period
    return torch.where(inside < n, inside, period - inside)


def _cut(x: Tensor, draws: Tensor) -> Tensor:
    """A square around the drawn centre set to 0, the mean of normalised images."""

    def within(centre: Tensor, n: int) -> Tensor:
        start = centre - draws[:, CUT_SIDE] // 2
        at = torch.arange(n, device=x.device)
        return (at >= start[:, None]) & (at < (start + draws[:, CUT_SIDE])[:, None])

    rows, columns = within(draws[:, CUT_Y], x.shape[2]), within(draws[:, CUT_X], x.shape[3])
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
