"""The order of a search's proposals: whose results one of them is made from, whoever finished first.

Lanes, widths, engines and kills decide when a trial ends. A proposal that saw whatever had ended would depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lab.record.trial_schema import StoredTrial


def taught_by(number: int, concurrency: int, free: int = 0) -> int:
    """How many trials, the first ones, have to have ended before proposal `number`: it is made from their results.

    Those after them count as running for it, though some may have ended. Proposals come in half blocks, of half as many
    as may be open: one sees all half blocks but its own and the one before, which may still train. Where all are seen
    but the block at hand, lanes wait for each block's last trial (`reports/concurrency`).

    Args:
        concurrency: trials that may be open at once.
        free: proposals that depend on no result, and wait for none.

    >>> [taught_by(number, concurrency=4) for number in range(10)]
    [0, 0, 0, 0, 2, 2, 4, 4, 6, 6]
    >>> [taught_by(number, concurrency=4, free=5) for number in range(10)]
    [0, 0, 0, 0, 0, 2, 4, 4, 6, 6]
    """
    if number < free:
        return 0
    half = -(-concurrency // 2)
    return max(number - number % half - (concurrency - half), 0)


class Turn(NamedTuple):
    """The numbers of the trial that was proposed, and of the one that runs it now: another, once it was preempted."""

    first: int
    now: int


class Turns:
    """The trials of a search in the order of their proposals. One that was preempted keeps its turn when it runs again.

    Args:
        concurrency, free: see `taught_by`.
    """

    def __init__(self, concurrency: int, free: int) -> None:
        self._concurrency, self._free = concurrency, free
        self._turns: list[Turn] = []
        self._of: dict[int, int] = {}
        self._open: set[int] = set()
        self._ended = 0
        """Turns before the first open one."""

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def observe(self, trial: StoredTrial) -> None:
        """Take in a trial as it is now. Trials are met in the order of their numbers.

        Raises:
            KeyError: it replaces a trial that there is not.
        """
        if not trial.is_planned:  # a killed driver was about to hand it out, or the sampler failed
            return
        if trial.number not in self._of:
            self._enter(trial)
        turn = self._of[trial.number]
        if trial.number == self._turns[turn].now and trial.state.is_finished() and not trial.was_preempted:
            self._open.discard(turn)
        while self._ended < len(self._turns) and self._ended not in self._open:
            self._ended += 1

    def _enter(self, trial: StoredTrial) -> None:
        if trial.replaces is None:
            turn = len(self._turns)
            self._turns.append(Turn(trial.number, trial.number))
            self._open.add(turn)
        else:
            turn = self._of[trial.replaces]
            self._turns[turn] = self._turns[turn]._replace(now=trial.number)
        self._of[trial.number] = turn

    @property
    def next(self) -> int:
        """The number of the next proposal."""
        return len(self._turns)

    @property
    def taught(self) -> int:
        """How many turns, the first ones, the next proposal is made from."""
        return taught_by(self.next, self._concurrency, self._free)

    @property
    def is_due(self) -> bool:
        """Whether all have ended that the next proposal is made from."""
        return self._ended >= self.taught

    def turn_of(self, number: int) -> int | None:
        """The turn of a trial; None for one that has none."""
        return self._of.get(number)
