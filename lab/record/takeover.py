"""Trials that leave a lane which is not heard of: which may be taken over, by whom, and how soon again."""

from __future__ import annotations

from collections import Counter

_AGAIN_S = 30.0
"""A trial that was moved and has finished no epoch since is moved again after so long, and then ever later."""


class Takeover:
    """Lanes that are lost, and the trials that were taken from them."""

    def __init__(self) -> None:
        self._lost: dict[int, float] = {}
        """For how many seconds each lane has not been heard of."""
        self._taken: dict[int, set[int]] = {}
        """By lane, trials taken from it that it may still be training."""
        self._times: Counter[int] = Counter()
        """How often a trial was moved since it last finished an epoch."""

    @property
    def lost(self) -> set[int]:
        """Lanes not heard of."""
        return set(self._lost)

    def lose(self, lane: int, silent_s: float) -> None:
        """A lane has not been heard of for so long."""
        self._lost[lane] = silent_s

    def heard(self, lane: int) -> None:
        """A lane speaks again; what was taken from it stays where it is."""
        self._lost.pop(lane, None)

    def begin(self, lane: int) -> None:
        """A lane begins anew, and trains nothing that was taken from it."""
        self._lost.pop(lane, None)
        self._taken.pop(lane, None)

    def allowed(self, trial: int, source: int, lane: int) -> bool:
        """Whether `lane` may take a trial of the lost lane `source` over."""
        return trial not in self._taken.get(lane, ()) and self._lost[source] >= self._patience_s(trial)

    def take(self, trial: int, source: int) -> None:
        """A trial is taken from the lost lane `source`."""
        self._taken.setdefault(source, set()).add(trial)
        self._times[trial] += 1

    def released(self, lane: int, trial: int) -> None:
        """A lane has been told that a trial is not its own any more."""
        self._taken.get(lane, set()).discard(trial)

    def progressed(self, trial: int) -> None:
        """A trial has finished an epoch where it is."""
        self._times.pop(trial, None)

    def _patience_s(self, trial: int) -> float:
        """How long a trial's lane has to be silent before the trial is moved.

        One that kills its lanes would else flee from each, where a process starts slowly, and never be found out.
        """
        times = self._times[trial]
        return _AGAIN_S * 4.0 ** (times - 1) if times else 0.0
