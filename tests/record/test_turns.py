"""The order of proposals: how many trials each is made from, and who has which turn."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from lab.record.trial_schema import PLANNED, REPLACES, StoredTrial
from lab.record.turns import Turn, Turns, taught_by
from lab.spec.outcomes import OUTCOME

NUMBERS = st.integers(0, 500)


@given(NUMBERS, st.integers(1, 100), NUMBERS)
def test_a_proposal_is_made_from_earlier_trials_and_leaves_no_more_open_than_may_be(
    number: int, concurrency: int, free: int
):
    taught = taught_by(number, concurrency, free)
    assert 0 <= taught <= number
    assert number < free or number - taught < concurrency


@given(NUMBERS, st.integers(1, 100), NUMBERS)
def test_what_has_taught_a_proposal_teaches_those_after_it(number: int, concurrency: int, free: int):
    assert taught_by(number, concurrency, free) <= taught_by(number + 1, concurrency, free)


@given(NUMBERS)
def test_one_after_the_other_each_is_made_from_all_before_it(number: int):
    assert taught_by(number, 1) == number


def _trial(number: int, state: TrialState = TrialState.RUNNING, **attrs: Any) -> StoredTrial:
    value = 0.5 if state == TrialState.COMPLETE else None
    frozen: FrozenTrial = create_trial(state=state, value=value, user_attrs={PLANNED: {}, **attrs})
    frozen.number = number
    return StoredTrial(frozen)


def _ended(number: int, **attrs: Any) -> StoredTrial:
    return _trial(number, TrialState.COMPLETE, **attrs)


def test_the_next_proposal_waits_for_the_trials_that_it_is_made_from_and_for_no_other():
    turns = Turns(concurrency=1, free=2)
    assert turns.is_due
    turns.observe(_trial(0))
    assert turns.is_due, "the second depends on none"
    turns.observe(_trial(1))
    assert not turns.is_due
    turns.observe(_ended(1))
    assert not turns.is_due
    turns.observe(_ended(0))
    assert turns.is_due
    assert (turns.next, turns.taught) == (2, 2)


def test_a_failed_trial_has_ended():
    turns = Turns(concurrency=1, free=0)
    turns.observe(_trial(0, TrialState.FAIL, **{OUTCOME: "failed"}))
    assert turns.is_due


def test_a_preempted_trial_keeps_its_turn_until_it_has_run_again():
    turns = Turns(concurrency=1, free=3)
    for number in (0, 1, 2):
        turns.observe(_trial(number))
    turns.observe(_trial(1, TrialState.FAIL, **{OUTCOME: "preempted"}))
    turns.observe(_trial(3, TrialState.WAITING, **{REPLACES: 1}))
    turns.observe(_ended(0))
    turns.observe(_ended(2))
    assert list(turns) == [Turn(0, 0), Turn(1, 3), Turn(2, 2)]
    assert [turns.turn_of(number) for number in (0, 1, 2, 3, 4)] == [0, 1, 2, 1, None]
    assert turns.next == 3
    assert not turns.is_due
    turns.observe(_ended(3, **{REPLACES: 1}))
    assert turns.is_due


def test_one_that_was_never_handed_out_has_no_turn():
    turns = Turns(concurrency=1, free=0)
    frozen = create_trial(state=TrialState.FAIL, user_attrs={OUTCOME: "preempted"})
    turns.observe(StoredTrial(frozen))
    assert turns.next == 0
