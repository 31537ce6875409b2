"""The takeover of trials from lanes that are silent: which may be taken, by whom, and how soon again."""

from __future__ import annotations

from collections import Counter

_AGAIN_S = 30.0
"""Seconds before a moved trial that has finished no epoch since is moved again. Each further move waits longer."""


class Takeover:
    """Lanes that are lost, and the trials that were taken from them."""

    def __init__(self) -> None:
        self._lost: dict[int, float] = {}
        """Seconds that each lost lane has been silent."""
        self._taken: dict[int, set[int]] = {}
        """Trials taken from each lane that it may still be training."""
        self._times: Counter[int] = Counter()
        """Moves of each trial since it last finished an epoch."""

    @property
    def lost(self) -> set[int]:
        """Lanes that are silent."""
        return set(self._lost)

    def lose(self, lane: int, silent_s: float) -> None:
        """Note that a lane has been silent for `silent_s` seconds."""
        self._lost[lane] = silent_s

    def heard(self, lane: int) -> None:
        """Note that a lane speaks again. Trials taken from it stay where they are."""
        self._lost.pop(lane, None)

    def begin(self, lane: int) -> None:
        """Note that a lane begins anew, and trains nothing that was taken from it."""
        self._lost.pop(lane, None)
        self._taken.pop(lane, None)

    def allowed(self, trial: int, source: int, lane: int) -> bool:
        """Whether `lane` may take over a trial of the lost lane `source`."""
        return trial not in self._taken.get(lane, ()) and self._lost[source] >= self._patience_s(trial)

    def take(self, trial: int, source: int) -> None:
        """Note that a trial is taken from the lost lane `source`."""
        self._taken.setdefault(source, set()).add(trial)
        self._times[trial] += 1

    def released(self, lane: int, trial: int) -> None:
        """Note that a lane knows that a trial is not its own any more."""
        self._taken.get(lane, set()).discard(trial)

    def progressed(self, trial: int) -> None:
        """Note that a trial has finished an epoch where it is."""
        self._times.pop(trial, None)

    def _patience_s(self, trial: int) -> float:
        """Seconds that a trial's lane has to be silent before the trial is moved.

        A trial that kills its lanes would otherwise be moved before it is blamed, where processes start slowly.
        """
        times = self._times[trial]
        return _AGAIN_S * 4.0 ** (times - 1) if times else 0.0
