"""What is believed before the first trial: a bell over some hyperparameters, which fades as trials are told.

Method: piBO (Hvarfner et al. 2022): the acquisition times the prior to the power of `beta / n`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from lab.response.encode import Encoding

Floats = NDArray[np.float64]

_BETA = 10.0
"""Trials after which the prior weighs as much as it is wide."""


@dataclass(frozen=True)
class Belief:
    """The best value of one hyperparameter is thought to lie near `center`; `spread` is a share of its range."""

    center: float
    spread: float = 0.15

    def __post_init__(self) -> None:
        for name, value in (("center", self.center), ("spread", self.spread)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"prior: {name} {value!r} is not a finite number")
        if not 0 < self.spread <= 1:
            raise ValueError(f"prior: spread {self.spread!r} is not in (0, 1], a share of the range")


class Prior:
    """Beliefs by the names of hyperparameters; those that a space lacks say nothing."""

    def __init__(self, beliefs: Mapping[str, Mapping[str, Any]] | None) -> None:
        self._beliefs: dict[str, Belief] = {}
        if not isinstance(beliefs, Mapping | None):
            raise ValueError(f"prior: {beliefs!r} is not a mapping of hyperparameters to what is believed of them")
        for name, belief in (beliefs or {}).items():
            if not isinstance(belief, Mapping) or not {"center"} <= belief.keys() <= {"center", "spread"}:
                raise ValueError(f"prior.{name}: {belief!r} is not {{center: ..., spread: ...}}")
            self._beliefs[name] = Belief(**belief)

    def __bool__(self) -> bool:
        return bool(self._beliefs)

    def points(self, encoding: Encoding, units: Floats) -> Floats:
        """Even points [n, d] moved to where the prior expects the best ones."""
        moved = units.copy()
        for column, center, spread in self._columns(encoding):
            ends = (0 - center) / spread, (1 - center) / spread
            moved[:, column] = scipy.stats.truncnorm.ppf(units[:, column], *ends, loc=center, scale=spread)
        return moved

    def weight(self, encoding: Encoding, units: Floats, trials: int) -> Floats:
        """Factor of the acquisition in (0, 1], after `trials` trials; [n]."""
        log = np.zeros(len(units))
        for column, center, spread in self._columns(encoding):
            log -= 0.5 * np.nan_to_num((units[:, column] - center) / spread) ** 2  # what is not there says nothing
        return np.asarray(np.exp(log * _BETA / max(trials, 1)))

    def _columns(self, encoding: Encoding) -> list[tuple[int, float, float]]:
        bells = []
        for name, belief in self._beliefs.items():
            dist = encoding.distributions.get(name)
            if dist is None or isinstance(dist, CategoricalDistribution):
                continue
            near = min(max(belief.center, dist.low), dist.high)  # type: ignore[attr-defined]
            center = float(encoding.units([{name: near}])[0, encoding.names.index(name)])
            bells.append((encoding.names.index(name), center, belief.spread))
        return bells
