"""What a trial is worth: expected improvement, times the chance that it ends well, times a fading prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.response.blend import Blend
from lab.response.divergence import Divergence
from lab.response.encode import Encoding
from lab.search.fidelity import Lessons
from lab.search.history import History, even_costs
from lab.search.prior import Prior

Floats = NDArray[np.float64]

_NOISY = float(np.log(0.05))
"""Logarithm of the share of the costs' variance from which on scores count as noisy."""

_AT_LAST = 1e-12
"""Where a trial is more likely to break than not, it is tried once nothing else is left: near a known optimum the gain
is so small that otherwise a slim chance of a region that always fails looks better, trial after trial."""


class Acquisition:
    """A model of the response and one of divergence, fitted to the same lessons of a history.

    Diverged trials enter the response as the worst: it must not be carried on beyond the edge where training breaks.
    Settings that failed say nothing of the response, but that the next trial there may end as they did.

    Args:
        taught: the lessons of that history.

    Attributes:
        means: final costs of the history's trials as the model predicts them [n], on the scale of `even_costs`; 0
            where there are too few scores for a model.
    """

    def __init__(self, seed: int, history: History, taught: Lessons, prior: Prior) -> None:
        self._taught, self._prior = taught, prior
        well = np.isfinite(taught.cost)
        units = np.concatenate([taught.units, taught.at_full(history.failed)])
        broken = np.concatenate([~well, np.ones(len(history.failed), dtype=bool)])
        self._divergence = Divergence(seed).fit(taught.encoding.features(units), broken)
        self._model: Blend | None = None
        self.means = np.zeros(len(history))
        if well.sum() >= 2:
            self._model = Blend(taught.encoding, seed).fit(taught.units, even_costs(taught.cost))
            self.means = self._model.predict(taught.at_full(history.units)).mean
            # Predicted, since the best observed was also lucky; of full runs, since only those are compared.
            self._best = float(self.means[~history.diverged].min())

    @property
    def noisy(self) -> bool:
        """Whether a second score of the same setting is expected to differ from the first."""
        return self._model is not None and self._model.gaussian.scales.noise > _NOISY

    @property
    def noise(self) -> float:
        """Standard deviation of the score of one setting, on the scale of `even_costs`; 0 where nothing is known."""
        return self._model.gaussian.noise if self._model is not None else 0.0

    def as_good(self, units: Floats, margin: float) -> Floats:
        """How likely points [n, d] end well and are no more than `margin` worse than the best, as predicted, on the
        scale of `even_costs`; [n]. 0 where there are too few scores for a model."""
        if self._model is None:
            return np.zeros(len(units))
        points = self._taught.at_full(units)
        well = 1 - self._divergence.probability(self._taught.encoding.features(points))
        return well * self._model.below(points, self._best + margin)

    def __call__(self, encoding: Encoding, units: Floats, trials: int) -> Floats:
        """Worth of points [n, d] after `trials` trials; [n], at least 0."""
        points = self._taught.at_full(units)
        well = 1 - self._divergence.probability(self._taught.encoding.features(points))
        gain = np.where(well < 0.5, _AT_LAST, 1.0) * well
        if self._model is not None:
            gain = gain * self._model.improvement(points, self._best)
        if self._prior:
            gain = gain * self._prior.weight(encoding, units, trials)
        return np.asarray(gain)
