"""Which settings are as good as the best: a box of the space, by peeling off what is not.

The patient rule induction method (Friedman and Fisher 1999, "Bump hunting in high-dimensional data"): thin slices are
peeled off the whole space, always that without which the rest is best, until what is left is good enough on the mean;
then its faces are moved out again as far as it stays so. Where nothing matters nothing is peeled off.

Shapes: n points, d hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab.response.encode import Encoding
from lab.response.findings import Region, Side

Floats = NDArray[np.float64]
Chance: TypeAlias = Callable[[Floats], Floats]
"""How likely each of the points [n, d] of the unit cube is as good as the best, [n]."""

SURE = (0.9, 0.8, 0.7)
"""How likely a setting of the region is as good as the best, on the mean over it; the first that can be had."""
_CELLS = 20
"""Slices of a range."""
_POINTS, _FEWEST = 1024, 256
_SMALLEST = 1e-5
"""Share of the space below which a region says no more than its best setting does."""


def region_of(encoding: Encoding, chance: Chance, best: Floats, margin: float, seed: int) -> Region | None:
    """The box that peeling leaves around the best setting; None where that is next to nothing.

    Args:
        best: the best setting [d], NaN where it lacks a hyperparameter.
        margin: what may lie between a setting and the best, as the region says it.
    """
    search = _Search(encoding, chance, best, np.random.default_rng([seed, 17]))
    for least in SURE:
        box = search.peeled(least)
        if box is None:
            continue
        while wider := search.pasted(box, least):
            box = wider
        sides = tuple(search.side(box, column) for column in range(len(encoding)))
        return Region(sides, search.share(box), search.points(box).mean(box), margin, encoding.values(best))
    return None


_Box: TypeAlias = tuple[tuple[int, ...], ...]
"""By hyperparameter the cells of its range, or the options, that are in it."""


@dataclass(frozen=True)
class _Points:
    """Points with their cells [n, d], -1 where they lack a hyperparameter, and their chances [n]."""

    cells: NDArray[np.int64]
    chance: Floats

    def inside(self, box: _Box) -> NDArray[np.bool_]:
        inside = np.ones(len(self.cells), dtype=bool)
        for cells, kept in zip(self.cells.T, box, strict=True):
            held = np.zeros(max(int(cells.max()), kept[-1]) + 2, dtype=bool)
            held[[0, *(cell + 1 for cell in kept)]] = True
            inside &= held[cells + 1]
        return inside

    def count(self, box: _Box) -> int:
        return int(self.inside(box).sum())

    def mean(self, box: _Box) -> float:
        inside = self.inside(box)
        return float(self.chance[inside].mean()) if inside.any() else 0.0

    def best(self, boxes: Iterator[_Box], since: _Box) -> _Box | None:
        """The box whose mean rises most for what it gives up."""
        mean, count = self.mean(since), self.count(since)
        rises: dict[_Box, float] = {}
        for box in boxes:
            left = self.count(box)
            if 0 < left < count:
                rises[box] = (self.mean(box) - mean) / math.log(count / left)
        return max(rises, key=lambda box: rises[box], default=None)


class _Search:
    """A space in cells."""

    def __init__(self, encoding: Encoding, chance: Chance, best: Floats, rng: np.random.Generator) -> None:
        self._encoding, self._chance, self._rng = encoding, chance, rng
        self._kinds = list(encoding.distributions.values())
        self._sizes = np.array([_cells_of(dist) for dist in self._kinds])
        self._best = self._cells(best[None])[0]
        self.whole: _Box = tuple(tuple(range(size)) for size in self._sizes)

    def points(self, box: _Box) -> _Points:
        """Points drawn evenly in a box."""
        cells = np.stack([self._rng.choice(kept, _POINTS) for kept in box], axis=1)
        units = self._encoding.snap((cells + self._rng.random(cells.shape)) / self._sizes)
        return _Points(self._cells(units), self._chance(units))

    def share(self, box: _Box) -> float:
        """The box's share of the space."""
        return math.prod(len(kept) / int(size) for kept, size in zip(box, self._sizes, strict=True))

    def to_peel(self, box: _Box) -> Iterator[tuple[int, int]]:
        """Slices that may be left out, by column and cell: the ends of a range, any option; never the best's own."""
        for column, kept in enumerate(box):
            ends = kept if self._is_choice(column) else (kept[0], kept[-1])
            yield from ((column, cell) for cell in dict.fromkeys(ends) if len(kept) > 1 and cell != self._best[column])

    def without(self, box: _Box, column: int, cell: int) -> _Box:
        return (*box[:column], tuple(c for c in box[column] if c != cell), *box[column + 1 :])

    def peeled(self, least: float) -> _Box | None:
        """What is left of the space once its mean is good enough; None where that is next to nothing."""
        box = self.whole
        points = self.points(box)
        while points.mean(box) < least:
            thinner = points.best((self.without(box, *slice_) for slice_ in self.to_peel(box)), since=box)
            if thinner is None or self.share(thinner) < _SMALLEST:
                return None
            box = thinner
            if points.count(box) < _FEWEST:
                points = self.points(box)
        return box

    def pasted(self, box: _Box, least: float) -> _Box | None:
        """The box with the slice beside it that is best to add; None where it would not stay good enough."""
        boxes: list[tuple[float, _Box]] = []
        for column, kept in enumerate(box):
            around = range(int(self._sizes[column])) if self._is_choice(column) else (kept[0] - 1, kept[-1] + 1)
            for cell in around:
                if cell not in kept and 0 <= cell < self._sizes[column]:
                    wider = (*box[:column], tuple(sorted((*kept, cell))), *box[column + 1 :])
                    boxes.append((self.points(wider).mean(wider), wider))
        mean, wider = max(boxes, default=(0.0, box))
        return wider if mean >= least else None

    def side(self, box: _Box, column: int) -> Side:
        """What the box says of one hyperparameter."""
        name, kept, size = self._encoding.names[column], box[column], int(self._sizes[column])
        if self._is_choice(column):
            values = [self._value(column, (cell + 0.5) / size) for cell in kept]
        else:
            # A whole number lies in the middle of its share of the range.
            inside = 0.0 if isinstance(self._kinds[column], FloatDistribution) else 0.5 / size
            values = [self._value(column, kept[0] / size + inside), self._value(column, (kept[-1] + 1) / size - inside)]
            if values[0] == values[1]:
                values = values[:1]
        return Side(name, tuple(values), between=not self._is_choice(column), whole=len(kept) == size)

    def _value(self, column: int, unit: float) -> Any:
        """The value at a place of a range."""
        point = np.full(len(self._encoding), np.nan)
        point[column] = unit
        return self._encoding.values(point)[self._encoding.names[column]]

    def _is_choice(self, column: int) -> bool:
        return isinstance(self._kinds[column], CategoricalDistribution)

    def _cells(self, units: Floats) -> NDArray[np.int64]:
        cells = np.floor(np.nan_to_num(units, nan=0.0) * self._sizes).clip(max=self._sizes - 1)
        return np.where(np.isnan(units), -1, cells).astype(np.int64)


def _cells_of(dist: BaseDistribution) -> int:
    """Into how many slices a range is cut: one for each option, or for each of a few whole numbers."""
    if isinstance(dist, CategoricalDistribution):
        return len(dist.choices)
    assert isinstance(dist, (FloatDistribution, IntDistribution))
    values = round((dist.high - dist.low) / dist.step) + 1 if dist.step and not dist.log else _CELLS
    return min(values, _CELLS)
