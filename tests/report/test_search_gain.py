"""What a report says of the search's worth."""

from __future__ import annotations

from lab.report.search_gain import search_gain
from lab.stages.confirm import Candidate, Chosen, Confirmed
from lab.stages.explore import Best
from lab.stages.statistics import mean_interval


def _candidate(trial: int | None, scores: list[float], **params: float) -> Candidate:
    setup = {"max_lr": 0.01, "cycles": 1, **params}
    summary = mean_interval(scores, "accuracy") if scores else None
    return Candidate("one_cycle", trial, setup, tuple(scores), ("completed",) * len(scores), summary)


def _confirmed(chosen: Candidate, *others: Candidate, direction: str = "maximize") -> Confirmed:
    return Confirmed(
        metric="accuracy",
        direction=direction,  # type: ignore[arg-type]  # one of two words
        seeds=4,
        observed_best=Best(1, 0.9, {}),
        candidates=(chosen, *others),
        chosen=Chosen(chosen),
    )


UNSEARCHED = _candidate(None, [0.80, 0.81, 0.79, 0.80], max_lr=0.02)


def test_a_gain_beyond_the_seeds_is_told_with_both_scores() -> None:
    said = search_gain(_confirmed(_candidate(3, [0.90, 0.91, 0.89, 0.90]), UNSEARCHED))
    assert said == (
        "Searching paid: on fresh seeds the best setup has accuracy 0.9 against 0.8 of the usual settings, without a "
        "search (max_lr 0.02)."
    )


def test_a_gain_within_the_seeds_is_a_finding_too() -> None:
    said = search_gain(_confirmed(_candidate(3, [0.79, 0.82, 0.80, 0.81]), UNSEARCHED))
    assert said is not None
    assert said.startswith("Searching hardly paid: ")
    assert "Settings matter little here" in said


def test_losses_are_better_when_less() -> None:
    worse = _confirmed(_candidate(3, [0.90, 0.91, 0.89, 0.90]), UNSEARCHED, direction="minimize")
    assert str(search_gain(worse)).startswith("Searching hardly paid")
    better = _confirmed(_candidate(3, [0.70, 0.71, 0.69, 0.70]), UNSEARCHED, direction="minimize")
    assert str(search_gain(better)).startswith("Searching paid")


def test_no_search_that_wins_is_told() -> None:
    said = search_gain(_confirmed(UNSEARCHED, _candidate(3, [0.7, 0.71])))
    assert said == "Searching did not pay: no setup was better than the usual settings, without a search (max_lr 0.02)."


def test_nothing_is_said_where_no_such_run_completed() -> None:
    chosen = _candidate(3, [0.9, 0.91])
    assert search_gain(_confirmed(chosen)) is None
    assert search_gain(_confirmed(chosen, _candidate(None, []))) is None
