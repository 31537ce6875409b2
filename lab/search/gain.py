"""What a further trial is expected to gain, beside what another seed alone changes: when the one is below the other,
the search chases luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from lab.response.encode import Conditions, Encoding
from lab.search.acquisition import Acquisition
from lab.search.candidates import around, everywhere
from lab.search.fidelity import lessons
from lab.search.history import read_history, sign_of
from lab.search.prior import Prior
from lab.search.threads import on_one_thread

_FEWEST, _FEWEST_PER_DIMENSION = 16, 4
"""Scores below which nothing is said: a model of so few takes everything for noise, or nothing."""
_ANYWHERE, _PER_CENTER, _CENTERS = 1024, 64, 10


@dataclass(frozen=True)
class Gain:
    """Both in standard deviations of the scores so far, on the even scale on which they are modelled."""

    expected: float
    """Expected improvement of the best candidate over the best setting, both as the response predicts them."""
    noise: float
    """Standard deviation of one setting's score over seeds: the noise that the Gaussian process in the response
    needs beside a smooth function to account for the scores (maximum of its posterior); settings that were trained
    more than once count most for it."""

    @property
    def below_noise(self) -> bool:
        return self.expected < self.noise


def gain_of_next(
    trials: Sequence[FrozenTrial],
    space: Mapping[str, BaseDistribution],
    direction: StudyDirection,
    seed: int,
    when: Conditions | None = None,
) -> Gain | None:
    """The gain after these trials, by (seed, trials) alone; None while too little is known to tell.

    Args:
        when: see `Encoding`.
    """
    encoding = Encoding({name: dist for name, dist in space.items() if not dist.single()}, when)
    history = read_history(trials, encoding, direction)
    if (~history.diverged).sum() < max(_FEWEST, _FEWEST_PER_DIMENSION * len(encoding)) or not len(encoding):
        return None
    with on_one_thread():
        acquisition = Acquisition(seed, history, lessons(history, encoding, sign_of(direction)), Prior(None))
        rng = np.random.default_rng([seed, len(history)])
        best_first = np.argsort(acquisition.means, kind="stable")
        near = around(encoding, history.units[best_first[:_CENTERS]], _PER_CENTER, rng)
        candidates = np.concatenate([everywhere(encoding, _ANYWHERE, rng), near])
        return Gain(float(acquisition(encoding, candidates, len(history)).max()), acquisition.noise)
