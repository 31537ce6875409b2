"""Scores of shorter runs beside final ones, told apart by one more input: how far the run had come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.response.forest import Forest, Prediction

Floats = NDArray[np.float64]

_MOST_RUNGS = 3


@dataclass(frozen=True)
class Rows:
    """What a forest is fitted to: a row per trial, or per trial and rung."""

    trial: NDArray[np.int64]
    """To which trial a row belongs, [n]."""
    target: Floats
    """[n]"""
    last: NDArray[np.bool_]
    """Which row is a trial's last, [n]; in the order of the trials."""
    fidelity: Floats | None
    """Share of the full run on a log scale [n]; None where all rows are of full runs."""

    def features(self, features: Floats) -> Floats:
        """Features of the trials [t, f] to those of the rows [n, f], or [n, f + 1] with their fidelity."""
        rows = features[self.trial]
        return rows if self.fidelity is None else np.concatenate([rows, self.fidelity[:, None]], axis=1)


def rows_of(curves: Sequence[Mapping[int, float]], final: Sequence[float], cut: Sequence[bool]) -> Rows:
    """Rows of trials by their curves (epoch to score) and final scores.

    Args:
        cut: which trials ended before their time; their last score is one of a shorter run. Their commonest epochs are
            the rungs at which the others are looked at too, or all short runs would be of bad settings.
    """
    if not any(cut):
        count = len(final)
        return Rows(np.arange(count), np.array(final, dtype=np.float64), np.ones(count, dtype=bool), None)
    longest = max((max(curve) for curve in curves if curve), default=1)
    ends = Counter(max(curve) for curve, short in zip(curves, cut, strict=True) if short)
    rungs = [epoch for epoch, _ in ends.most_common(_MOST_RUNGS)]
    rows: list[tuple[int, float, bool, float]] = []
    for number, (curve, score, short) in enumerate(zip(curves, final, cut, strict=True)):
        if short:
            end = max(curve)
            rows.append((number, curve[end], True, _fidelity(end, longest)))
            continue
        earlier = [epoch for epoch in rungs if epoch < longest and math.isfinite(curve.get(epoch, math.nan))]
        rows += [(number, curve[epoch], False, _fidelity(epoch, longest)) for epoch in earlier]
        rows.append((number, score, True, 1.0))
    trial, target, last, fidelity = zip(*rows, strict=True)
    return Rows(np.array(trial), np.array(target), np.array(last), np.array(fidelity))


def _fidelity(epoch: int, longest: int) -> float:
    return math.log1p(max(epoch, 0)) / math.log1p(max(longest, 1))


def of_full_run(features: Floats) -> Floats:
    """Features [n, f] as those of full runs, [n, f + 1]."""
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


class AtFull:
    """A forest that is asked for the scores of full runs."""

    def __init__(self, forest: Forest, rows: Rows) -> None:
        self._forest, self._knows_epochs = forest, rows.fidelity is not None

    def trees(self, features: Floats) -> Floats:
        """What each tree predicts, [trees, n]."""
        return self._forest.trees(self._full(features))

    def predict(self, features: Floats) -> Prediction:
        """Mean and standard deviation over the trees, each [n]."""
        return self._forest.predict(self._full(features))

    def intervals(self, features: Floats, level: float) -> tuple[Floats, Floats]:
        """As `Forest.intervals`."""
        return self._forest.intervals(self._full(features), level)

    def _full(self, features: Floats) -> Floats:
        return of_full_run(features) if self._knows_epochs else features
