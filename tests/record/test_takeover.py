"""Trials that leave a lane which is not heard of."""

import math

from lab.record.takeover import Moves


def test_a_trial_of_a_lost_lane_may_be_taken_until_the_lane_speaks_again() -> None:
    moves = Moves()
    moves.lose(0, 5.0)
    assert moves.lost == {0}
    assert moves.allowed(7, source=0, lane=1)
    moves.find(0)
    assert moves.lost == set()


def test_a_lane_is_not_given_back_what_it_may_still_train() -> None:
    moves = Moves()
    moves.lose(0, math.inf)
    moves.take(7, source=0)
    moves.progressed(7)
    moves.lose(1, math.inf)
    assert not moves.allowed(7, source=1, lane=0)
    moves.released(0, 7)
    assert moves.allowed(7, source=1, lane=0)


def test_a_lane_that_begins_anew_trains_nothing_that_was_taken() -> None:
    moves = Moves()
    moves.lose(0, math.inf)
    moves.take(7, source=0)
    moves.begin(0)
    assert moves.lost == set()
    moves.lose(1, math.inf)
    assert moves.allowed(7, source=1, lane=0)


def test_a_trial_that_gets_nowhere_is_moved_ever_later() -> None:
    """It may be what silences its lanes; a finished epoch clears it."""
    moves = Moves()
    waits = []
    for _ in range(3):
        waits.append(next(s for s in (0.0, 30.0, 120.0, 480.0) if _allowed(moves, 7, s)))
        moves.take(7, source=0)
    assert waits == [0.0, 30.0, 120.0]
    moves.progressed(7)
    assert _allowed(moves, 7, 0.0)


def _allowed(moves: Moves, trial: int, silent_s: float) -> bool:
    moves.lose(0, silent_s)
    return moves.allowed(trial, source=0, lane=1)
