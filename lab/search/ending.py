"""When a search ends before its last trial: time, a score that is good enough, or nothing left to gain."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lab.response.encode import Conditions
from lab.search.gain import Gain, gain_of_next
from lab.spec.plan import ENDED, Until

_BELOW, _WORKED = "gain below noise from", "worked seconds"
"""What a study's storage keeps beside the reason, so that a search that was interrupted ends where it would have."""

_PATIENCE = 8
"""Trials that end meanwhile, during which the gain has to be below the noise: one lucky score moves both."""


class Ending:
    """Asked before every proposal; once it has given a reason it gives that for ever."""

    def __init__(
        self,
        until: Until,
        study: optuna.Study,
        space: Mapping[str, BaseDistribution],
        seed: int,
        observed: Sequence[FrozenTrial] = (),
        when: Conditions | None = None,
    ) -> None:
        """`observed`: another study's trials, which the response is fitted to as well; `when`: see `Encoding`."""
        self._until, self._study, self._space, self._seed, self._observed = until, study, space, seed, tuple(observed)
        self._when = when
        attrs = study.user_attrs
        self.reason: str = attrs.get(ENDED, "")
        self._below: int | None = attrs.get(_BELOW)
        self._before_s, self._begun_s = float(attrs.get(_WORKED, 0.0)), time.monotonic()
        self._looked_after = -1

    def look(self) -> str:
        """Why nothing is to be proposed any more; empty while the search goes on."""
        if not self.reason:
            self.reason = self._late() or self._reached() or self._gained()
            if self.reason:
                self._study.set_user_attr(ENDED, self.reason)
        return self.reason

    def _late(self) -> str:
        """Time counts while a ledger is open; what an interruption took does not."""
        if self._until.hours is None:
            return ""
        worked_s = self._before_s + time.monotonic() - self._begun_s
        self._study.set_user_attr(_WORKED, worked_s)
        return f"{self._until.hours:g} hours are over" if worked_s >= 3600 * self._until.hours else ""

    def _reached(self) -> str:
        target = self._until.target_score
        if target is None:
            return ""
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        scores = [trial.value for trial in complete if trial.value is not None]
        if not scores:
            return ""
        maximize = self._study.direction == StudyDirection.MAXIMIZE
        best = max(scores) if maximize else min(scores)
        reached = best >= target if maximize else best <= target
        return f"score {best:.4g} has reached {target:g}" if reached else ""

    def _gained(self) -> str:
        if not self._until.gain_below_noise:
            return ""
        trials = [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]
        if len(trials) == self._looked_after:
            return ""
        self._looked_after = len(trials)
        lessons = [*self._observed, *trials]
        gain: Gain | None = gain_of_next(lessons, self._space, self._study.direction, self._seed, self._when)
        if gain is None or not gain.below_noise:
            self._remember(None)
            return ""
        if self._below is None:
            self._remember(len(trials))
        assert self._below is not None  # remembered
        if len(trials) - self._below < _PATIENCE:
            return ""
        return f"the expected gain of a further trial is {gain.expected / gain.noise:.2g} of the noise of a seed"

    def _remember(self, below: int | None) -> None:
        if below != self._below:
            self._below = below
            self._study.set_user_attr(_BELOW, below)


def forget(study: optuna.Study) -> None:
    """Let a search that had ended go on: it is given more trials."""
    for name, value in ((ENDED, ""), (_BELOW, None), (_WORKED, 0.0)):
        if name in study.user_attrs:
            study.set_user_attr(name, value)
