"""Trials that leave a lane which is not heard of."""

import math

from lab.record.takeover import Takeover


def test_a_trial_of_a_lost_lane_may_be_taken_until_the_lane_speaks_again() -> None:
    takeover = Takeover()
    takeover.lose(0, 5.0)
    assert takeover.lost == {0}
    assert takeover.allowed(7, source=0, lane=1)
    takeover.heard(0)
    assert takeover.lost == set()


def test_a_lane_is_not_given_back_what_it_may_still_train() -> None:
    takeover = Takeover()
    takeover.lose(0, math.inf)
    takeover.take(7, source=0)
    takeover.progressed(7)
    takeover.lose(1, math.inf)
    assert not takeover.allowed(7, source=1, lane=0)
    takeover.released(0, 7)
    assert takeover.allowed(7, source=1, lane=0)


def test_a_lane_that_begins_anew_trains_nothing_that_was_taken() -> None:
    takeover = Takeover()
    takeover.lose(0, math.inf)
    takeover.take(7, source=0)
    takeover.begin(0)
    assert takeover.lost == set()
    takeover.lose(1, math.inf)
    assert takeover.allowed(7, source=1, lane=0)


def test_a_trial_that_gets_nowhere_is_moved_ever_later() -> None:
    """It may be what silences its lanes; a finished epoch clears it."""
    takeover = Takeover()
    waits = []
    for _ in range(3):
        waits.append(next(s for s in (0.0, 30.0, 120.0, 480.0) if _allowed(takeover, 7, s)))
        takeover.take(7, source=0)
    assert waits == [0.0, 30.0, 120.0]
    takeover.progressed(7)
    assert _allowed(takeover, 7, 0.0)


def _allowed(takeover: Takeover, trial: int, silent_s: float) -> bool:
    takeover.lose(0, silent_s)
    return takeover.allowed(trial, source=0, lane=1)
