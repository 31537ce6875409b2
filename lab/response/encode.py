"""Hyperparameters as numbers: the unit cube that is searched, and the features that trees split on.

Shapes: n points, d hyperparameters, f features (a categorical takes one feature per choice).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Floats = NDArray[np.float64]

Conditions: TypeAlias = Mapping[str, Mapping[str, Sequence[Any]]]

INACTIVE = -1.0
"""Feature of a conditional parameter that a trial does not have: outside [0, 1], so that one split tells it apart."""


class Encoding:
    """A fixed order of dimensions, with the way from values to [0, 1] and back (on the log scale where asked).

    Args:
        when: of conditional hyperparameters, the values of those before them at which they exist.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], when: Conditions | None = None) -> None:
        self.distributions = dict(distributions)
        self.names = tuple(self.distributions)
        conditions = when or {}
        self.when = {
            name: {parent: tuple(values) for parent, values in conditions[name].items() if parent in self.distributions}
            for name in self.names
            if name in conditions
        }

    def __len__(self) -> int:
        return len(self.names)

    @property
    def columns(self) -> tuple[tuple[str, slice], ...]:
        """Each hyperparameter with its columns among the features."""
        columns, start = [], 0
        for name, dist in self.distributions.items():
            width = len(dist.choices) if isinstance(dist, CategoricalDistribution) else 1
            columns.append((name, slice(start, start + width)))
            start += width
        return tuple(columns)

    @property
    def cells(self) -> Floats:
        """Distance between neighbouring values of each hyperparameter in the unit cube, 0 where it is continuous or
        logarithmic; [d]."""
        sizes = np.zeros(len(self))
        for column, dist in enumerate(self.distributions.values()):
            if isinstance(dist, (FloatDistribution, IntDistribution)) and dist.step and not dist.log:
                sizes[column] = 1 / ((dist.high - dist.low) / dist.step + 1)
        return sizes

    def units(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """Values to the unit cube [n, d]; NaN where a point lacks the parameter."""
        rows = [
            [_unit(d, p[name]) if name in p else math.nan for name, d in self.distributions.items()] for p in points
        ]
        return np.array(rows, dtype=np.float64).reshape(len(points), len(self))

    def features(self, units: Floats) -> Floats:
        """Points of the unit cube [n, d] to features [n, f]; what does not exist at a point has none."""
        units = self.masked(units)
        parts: list[Floats] = []
        for column, dist in enumerate(self.distributions.values()):
            u = units[:, column]
            if isinstance(dist, CategoricalDistribution):
                index = np.floor(np.nan_to_num(u, nan=INACTIVE) * len(dist.choices)).clip(max=len(dist.choices) - 1)
                parts.append((index[:, None] == np.arange(len(dist.choices))[None]).astype(np.float64))
            else:
                parts.append(np.nan_to_num(u, nan=INACTIVE)[:, None])
        return np.concatenate(parts, axis=1)

    def snap(self, units: Floats) -> Floats:
        """The points [n, d] that stand for the same values, so that equal proposals are equal; see `masked`."""
        snapped = units.copy()
        for column, dist in enumerate(self.distributions.values()):
            if isinstance(dist, CategoricalDistribution):
                count = len(dist.choices)
                snapped[:, column] = (np.floor(units[:, column] * count).clip(max=count - 1) + 0.5) / count
            elif not isinstance(dist, FloatDistribution) or dist.step:
                values, index = np.unique(_nearest(dist, units[:, column]), return_inverse=True)
                snapped[:, column] = np.array([_unit(dist, value) for value in values.tolist()])[index]
        return self.masked(snapped)

    def masked(self, units: Floats) -> Floats:
        """Points [n, d] with NaN for what does not exist at them, as a trial there would lack it."""
        values = units.copy()
        for name, parents in self.when.items():
            column = self.names.index(name)
            for parent, allowed in parents.items():
                of_parent = values[:, self.names.index(parent)]
                distinct, index = np.unique(of_parent, return_inverse=True)
                dist = self.distributions[parent]
                fits = [not math.isnan(u) and _value(dist, u) in allowed for u in distinct.tolist()]
                values[~np.array(fits, dtype=bool)[index], column] = math.nan
        return values

    def values(self, unit: Floats) -> dict[str, Any]:
        """One point [d] to values, each inside its distribution; what is NaN there has none."""
        pairs = zip(self.distributions.items(), unit.tolist(), strict=True)
        return {name: _value(dist, u) for (name, dist), u in pairs if not math.isnan(u)}


def _nearest(dist: BaseDistribution, units: Floats) -> Floats:
    """`_value` of many units [n] of whole or stepped numbers, as numbers [n]."""
    assert isinstance(dist, (FloatDistribution, IntDistribution))
    assert dist.step
    low, high = _bounds(dist)
    x = low + units * (high - low)
    steps = np.rint(((np.exp(x) if dist.log else x) - dist.low) / dist.step)
    return np.clip(dist.low + steps * dist.step, dist.low, dist.high)


def _bounds(dist: FloatDistribution | IntDistribution) -> tuple[float, float]:
    low, high = float(dist.low), float(dist.high)
    if isinstance(dist, IntDistribution):
        low, high = low - 0.5, high + 0.5  # each whole number gets an equal share
    return (math.log(low), math.log(high)) if dist.log else (low, high)


def _unit(dist: BaseDistribution, value: Any) -> float:
    if isinstance(dist, CategoricalDistribution):
        return (dist.choices.index(value) + 0.5) / len(dist.choices)
    assert isinstance(dist, (FloatDistribution, IntDistribution))
    low, high = _bounds(dist)
    x = math.log(value) if dist.log else float(value)
    return (x - low) / (high - low) if high > low else 0.5


def _value(dist: BaseDistribution, unit: float) -> Any:
    if isinstance(dist, CategoricalDistribution):
        return dist.choices[min(int(unit * len(dist.choices)), len(dist.choices) - 1)]
    assert isinstance(dist, (FloatDistribution, IntDistribution))
    low, high = _bounds(dist)
    x = low + unit * (high - low)
    value = math.exp(x) if dist.log else x
    if dist.step:
        value = dist.low + round((value - dist.low) / dist.step) * dist.step
    value = min(max(value, dist.low), dist.high)
    return int(value) if isinstance(dist, IntDistribution) else float(value)
