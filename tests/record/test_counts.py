"""Counts kept as trials change are those of a scan."""

from __future__ import annotations

from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from lab.record.counts import Counts
from lab.record.trial_schema import StoredTrial
from lab.spec.trial import Outcome

ENDS = {
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.FAIL,
    Outcome.FAILED: TrialState.FAIL,
    Outcome.PREEMPTED: TrialState.FAIL,
}


def _trial(number: int, lane: int | None, epochs: int, outcome: Outcome | None, score: float) -> StoredTrial:
    attrs: dict[str, Any] = {"planned": {"epochs": 9}}
    if lane is not None:
        attrs["assignment"] = {"lane": lane, "slot": 0, "tick": 2 * number}
    if outcome is not None:
        attrs |= {"outcome": str(outcome), "end_tick": 2 * number + epochs}
    state = ENDS[outcome] if outcome else TrialState.WAITING if lane is None else TrialState.RUNNING
    value = score if state == TrialState.COMPLETE else None
    trial = create_trial(
        state=state, value=value, user_attrs=attrs, intermediate_values=dict.fromkeys(range(epochs), 1.0)
    )
    trial.number, trial._trial_id = number, 100 + number
    return StoredTrial(trial)


CHANGES = st.lists(
    st.builds(
        _trial,
        number=st.integers(0, 5),
        lane=st.none() | st.integers(0, 2),
        epochs=st.integers(0, 8),
        outcome=st.none() | st.sampled_from(list(ENDS)),
        score=st.floats(-1, 1),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(CHANGES, st.sampled_from(["maximize", "minimize"]))
def test_counts_that_observed_every_change_are_those_made_anew(
    changes: list[StoredTrial], direction: Literal["maximize", "minimize"]
) -> None:
    counts = Counts(direction, [])
    for trial in changes:
        counts.observe(trial)
    latest = {trial.number: trial for trial in changes}.values()
    anew = Counts(direction, latest)
    assert +counts.outcomes == +anew.outcomes
    for name in ("total", "counted", "waiting", "epochs_done"):
        assert getattr(counts, name) == getattr(anew, name), name
    assert counts.lanes() == anew.lanes()
    assert all(counts.storage_id(trial.number) == 100 + trial.number for trial in latest)
    for lane in range(3):
        assert counts.running(lane) == anew.running(lane)
        assert counts.running(lane) == sorted(
            t.number for t in latest if t.state == TrialState.RUNNING and t.seat is not None and t.seat.lane == lane
        )
        assert counts.frontier(lane) >= anew.frontier(lane), "a lane's clock never goes back"


def test_the_best_is_of_completed_trials_alone() -> None:
    trials = [
        _trial(0, 0, 9, Outcome.COMPLETED, 0.5),
        _trial(1, 0, 9, Outcome.COMPLETED, 0.7),
        _trial(2, 0, 3, Outcome.PRUNED, 0.9),
        _trial(3, 1, 3, None, 0.95),
    ]
    assert Counts("maximize", trials).best == 0.7
    assert Counts("minimize", trials).best == 0.5
    assert Counts("maximize", []).best is None


def test_a_trial_that_ended_early_needs_no_more_epochs_and_a_preempted_one_counts_where_it_runs_again() -> None:
    assert Counts("maximize", [_trial(0, 0, 3, None, 0.0)]).epochs_done == 3
    assert Counts("maximize", [_trial(0, 0, 3, Outcome.PRUNED, 0.0)]).epochs_done == 9
    preempted = Counts("maximize", [_trial(0, 0, 3, Outcome.PREEMPTED, 0.0)])
    assert (preempted.epochs_done, preempted.total, preempted.counted) == (0, 1, 0)
