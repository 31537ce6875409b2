"""How far to believe a forest: what it predicts, and how often its intervals hold, on trials that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.response.findings import Coverage
from lab.response.forest import Forest

Floats = NDArray[np.float64]

LEVELS = (0.8, 0.95)


@dataclass(frozen=True)
class Quality:
    """By cross-validation over whole trials, so that no score of a trial helps to predict another of its own."""

    r2: float | None
    """None where the target does not vary."""
    coverage: tuple[Coverage, ...]


def held_out(
    features: Floats,
    target: Floats,
    trial: NDArray[np.int64],
    *,
    seed: int,
    folds: int = 5,
    asked: NDArray[np.bool_] | None = None,
    levels: Sequence[float] = LEVELS,
) -> Quality:
    """Fit to the trials of all folds but one, and look at the one.

    Args:
        features: of each row [n, f]; a trial may have several rows.
        target: [n]
        trial: to which trial a row belongs [n].
        asked: the rows whose prediction counts [n]; None: all.
    """
    trials = np.random.default_rng(seed).permutation(np.unique(trial))
    fold_of = {number: index % folds for index, number in enumerate(trials.tolist())}
    fold = np.array([fold_of[number] for number in trial.tolist()])
    counts = np.ones(len(target), dtype=bool) if asked is None else asked
    mean = np.full(len(target), np.nan)
    ends = {level: (mean.copy(), mean.copy()) for level in levels}
    for out in range(folds):
        test, fit = fold == out, fold != out
        if not test.any() or not fit.any():
            continue
        forest = Forest(seed).fit(features[fit], target[fit])
        mean[test] = forest.predict(features[test]).mean
        for level, (low, high) in ends.items():
            low[test], high[test] = forest.intervals(features[test], level)
    seen = counts & np.isfinite(mean)
    y, spread = target[seen], float(target[seen].std()) if seen.any() else 0.0
    if spread <= 1e-9 * max(1.0, float(np.abs(target).max())):
        return Quality(None, ())
    covered = [
        Coverage(level, float(((low[seen] <= y) & (y <= high[seen])).mean()), float((high - low)[seen].mean()) / spread)
        for level, (low, high) in ends.items()
    ]
    return Quality(1 - float(((y - mean[seen]) ** 2).mean()) / spread**2, tuple(covered))
