"""How training images are varied, and the random numbers with which it is done. Needs no torch. b examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lab.tasks.options import FLAG_OR_AUTO, Options, number, option, whole
from lab.tasks.options import SHARE as _SHARE
from lab.tasks.undecided import AUTO, Undecided

MIXING = ("mixup", "label_smoothing")
"""What mixes targets, of which there are then classes or labels."""
COLUMNS = 9
FLIP, DOWN, RIGHT, CUT_Y, CUT_X, CUT_SIDE, SHARE, PARTNER, SMOOTHING = range(COLUMNS)
"""What a row of draws says: mirrored; pixels moved; the blanked square's centre and side; mixup's share of the example
itself and who it is mixed with; label smoothing."""


class Augmentation(Options, kw_only=True):
    """How training images are varied; a trial's hyperparameters of the same names win."""

    flip: bool | Literal["auto"] = option(
        "whether images are mirrored at random; auto tries both",
        FLAG_OR_AUTO,
        default=AUTO,
        searched=True,
        undecided=Undecided((False, True), before=True),
    )
    """With probability 1/2. What is written or has a direction is another thing when mirrored."""
    shift: int = option(
        "pixels by which images are shifted at random", whole(0, unit="pixels"), default=0, searched=True
    )
    """Up to so many each way, the border reflected."""
    cutout: int = option(
        "side in pixels of a square blanked at random", whole(0, unit="pixels"), default=0, searched=True
    )
    """The square is set to the mean (DeVries and Taylor 2017, arXiv 1708.04552)."""
    mixup: float = option("alpha of mixup's Beta distribution; 0 is off", number(0, 100), default=0.0, searched=True)
    """Zhang et al. 2017, arXiv 1710.09412, eq. 1."""
    label_smoothing: float = option(
        "share of each training target spread over all classes", _SHARE, default=0.0, searched=True
    )
    """Szegedy et al. 2015, arXiv 1512.00567."""

    def beside(self, kind: str) -> dict[str, str]:
        if kind in ("classification", "multilabel"):
            return super().beside(kind)
        return super().beside(kind) | dict.fromkeys(MIXING, "is for a target of classes or labels")

    def draw(
        self, examples: int, size: tuple[int, int], random: np.random.Generator, params: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        """One trial's random numbers for a batch, float32 [b, 9]."""
        height, width = size
        searched = {f.name: params[f.name] for f in fields(Augmentation) if f.name in params}
        searched |= {name: int(searched[name]) for name in ("shift", "cutout") if isinstance(searched.get(name), float)}
        # Impossible values of a trial are refused as the spec's are.
        mine = replace(self, **searched) if searched else self
        shift, alpha = mine.shift, mine.mixup
        draws = np.zeros((examples, COLUMNS), dtype=np.float32)
        draws[:, FLIP] = random.random(examples) < 0.5 if mine.flip is True else 0
        draws[:, [DOWN, RIGHT]] = random.integers(-shift, shift + 1, (examples, 2))
        draws[:, CUT_Y], draws[:, CUT_X] = random.integers(0, height, examples), random.integers(0, width, examples)
        draws[:, CUT_SIDE] = mine.cutout
        draws[:, SHARE] = random.beta(alpha, alpha) if alpha > 0 else 1.0  # one per batch, as in the paper's code
        draws[:, PARTNER] = random.permutation(examples)
        draws[:, SMOOTHING] = mine.label_smoothing
        return draws
