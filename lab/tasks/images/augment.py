"""Augmentation of whole batches on their device, with each example's randomness drawn beforehand.

Shapes: k slots, b examples of a batch, c channels, h and w pixels, n classes; draws are [k, b, 9].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import SpecError

_COLUMNS = 9
FLIP, DOWN, RIGHT, CUT_Y, CUT_X, CUT_SIDE, SHARE, PARTNER, SMOOTHING = range(_COLUMNS)
"""What a row of draws says: mirrored; pixels moved; the blanked square's centre and side; mixup's share of the example
itself and who it is mixed with; label smoothing."""


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; a trial's hyperparameters of the same names win.

    Args:
        flip: mirrored with probability 1/2.
        shift: up to so many pixels each way, the border reflected.
        cutout: side of a square set to the mean (DeVries and Taylor 2017, arXiv 1708.04552).
        mixup: alpha of the Beta distribution (Zhang et al. 2017, arXiv 1710.09412, eq. 1); 0 is off.
        label_smoothing: share of a target spread over all classes (Szegedy et al. 2015, arXiv 1512.00567).
    """

    flip: bool = True
    shift: int = 0
    cutout: int = 0
    mixup: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "cutout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SpecError(f"task.{name}", f"{value!r} is not a whole number of pixels of at least 0")
        if not isinstance(self.flip, bool):
            raise SpecError("task.flip", f"{self.flip!r} is not true or false")
        if isinstance(self.mixup, bool) or not isinstance(self.mixup, (int, float)) or not 0 <= self.mixup <= 100:
            raise SpecError("task.mixup", f"{self.mixup!r} is not a number from 0 to 100")
        smoothing = self.label_smoothing
        if isinstance(smoothing, bool) or not isinstance(smoothing, (int, float)) or not 0 <= smoothing < 1:
            raise SpecError("task.label_smoothing", f"{smoothing!r} is not a share between 0 and 1")

    def draw(
        self, examples: int, size: tuple[int, int], random: np.random.Generator, params: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        """One trial's random numbers for a batch, float32 [b, 9]."""
        height, width = size
        given = {f.name: params[f.name] for f in fields(self) if f.name in params}
        given |= {name: int(given[name]) for name in ("shift", "cutout") if isinstance(given.get(name), float)}
        mine = replace(self, **given)  # refuses a trial's impossible values as it does the spec's
        shift, alpha = mine.shift, mine.mixup
        found = np.zeros((examples, _COLUMNS), dtype=np.float32)
        found[:, FLIP] = random.random(examples) < 0.5 if mine.flip else 0
        found[:, [DOWN, RIGHT]] = random.integers(-shift, shift + 1, (examples, 2))
        found[:, CUT_Y], found[:, CUT_X] = random.integers(0, height, examples), random.integers(0, width, examples)
        found[:, CUT_SIDE] = mine.cutout
        found[:, SHARE] = random.beta(alpha, alpha) if alpha > 0 else 1.0  # one per batch, as in the paper's code
        found[:, PARTNER] = random.permutation(examples)
        found[:, SMOOTHING] = mine.label_smoothing
        return found


def augment(x: Tensor, y: Tensor, draws: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Augmented images and soft targets [k, b, n] for normalised images [k, b, c, h, w].

    Args:
        y: classes [k, b], or labels [k, b, n].
    """
    flat = draws.flatten(0, 1)
    images = _cut(_move(x.flatten(0, 1), flat), flat).view(x.shape)
    soft = nn.functional.one_hot(y, classes) if y.ndim == 2 else y
    smoothing = draws[..., SMOOTHING, None]
    spread = 1 / classes if y.ndim == 2 else 0.5
    target = soft.to(x.dtype) * (1 - smoothing) + smoothing * spread
    slot = torch.arange(len(x), device=x.device)[:, None]
    partner, share = draws[..., PARTNER].long(), draws[..., SHARE, None]
    mixed = share[..., None, None] * images + (1 - share[..., None, None]) * images[slot, partner]
    return mixed, share * target + (1 - share) * target[slot, partner]


def _move(x: Tensor, draws: Tensor) -> Tensor:
    """Mirrored and shifted, by one indexing of [m, c, h, w]."""
    rows = _reflected(torch.arange(x.shape[2], device=x.device) - draws[:, DOWN, None], x.shape[2])  # [m, h]
    columns = torch.arange(x.shape[3], device=x.device)
    mirrored = torch.where(draws[:, FLIP, None] > 0, x.shape[3] - 1 - columns, columns)
    columns = _reflected(mirrored - draws[:, RIGHT, None], x.shape[3])  # [m, w]
    example = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return x[example, channel, rows[:, None, :, None], columns[:, None, None, :]]


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
