"""How training images are varied, and the random numbers with which it is done. Needs no torch. b examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
