"""Which final models are planned: by what was confirmed, and what may be spent."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from lab.spec.folds import Folds
from lab.spec.study import StudySpec, parse_spec
from lab.stages import final
from lab.stages.confirm import Candidate, Chosen, Confirmed
from lab.stages.explore import Best
from lab.stages.statistics import mean_interval
from tests.small import small


def _spec(**final_section: Any) -> StudySpec:
    return parse_spec(
        small(final={"epochs": 12, "seeds": 3, "snapshots": "auto", **final_section}, search={"epochs": 5})
    )


def _confirmed(one: list[float], several: list[float], cycles: int = 3) -> Confirmed:
    def candidate(kind: Any, scores: list[float], cycles: int) -> Candidate:
        steady = ("completed",) * len(scores)
        setup = {"max_lr": 0.01, "cycles": cycles, "weight_decay": 0.1, "dropout": 0.2}
        return Candidate(kind, 1, setup, tuple(scores), steady, mean_interval(scores, "accuracy"))

    chosen = Chosen(candidate("one_cycle", one, 1), candidate("several", several, cycles) if several else None)
    best = Best(1, 0.9, {})
    return Confirmed(
        metric="accuracy", direction="maximize", seeds=4, observed_best=best, candidates=(), trials=10, chosen=chosen
    )


def _roles(spec: StudySpec, confirmed: Confirmed) -> dict[str, int]:
    return Counter(final._role(trial) for trial in final._models(spec, confirmed))


EVEN = _confirmed([0.9, 0.91, 0.89, 0.9], [0.9, 0.9, 0.91, 0.89])
BEATEN = _confirmed([0.9, 0.91, 0.89, 0.9], [0.8, 0.81, 0.79, 0.8])


def test_snapshots_are_trained_in_the_cycles_that_were_confirmed() -> None:
    planned = final._models(_spec(), EVEN)
    assert [trial.params["cycles"] for trial in planned if final._role(trial) == "several"] == [3]
    assert [trial.params["cycles"] for trial in planned if final._role(trial) != "several"] == [1] * 6
    assert {trial.epochs for trial in planned if final._role(trial) == "shorter"} == {5}


def test_cycles_that_were_clearly_beaten_are_not_trained_unless_they_are_asked_for() -> None:
    assert _roles(_spec(), EVEN) == {"one_cycle": 3, "shorter": 3, "several": 1}
    assert _roles(_spec(), BEATEN) == {"one_cycle": 3, "shorter": 3}
    assert final._no_snapshots(_spec(), BEATEN) == "several cycles were clearly beaten by one"
    asked = final._models(_spec(snapshots=4), BEATEN)
    assert [trial.params["cycles"] for trial in asked if final._role(trial) == "several"] == [4]


@pytest.mark.parametrize(
    ("spec", "confirmed", "why"),
    [
        (_spec(snapshots=1), EVEN, "final.snapshots is 1"),
        (_spec(), _confirmed([0.9, 0.9], []), "no setup of several cycles was confirmed"),
        (_spec(epochs=6), _confirmed([0.9, 0.9], [0.9, 0.9], cycles=7), "7 cycles do not fit into 6 epochs"),
    ],
)
def test_why_there_are_no_snapshots_is_said(spec: StudySpec, confirmed: Confirmed, why: str) -> None:
    assert final._no_snapshots(spec, confirmed) == why
    assert "several" not in _roles(spec, confirmed)


def test_a_final_length_of_the_searchs_own_has_no_shorter_runs() -> None:
    assert _roles(_spec(epochs=5), EVEN) == {"one_cycle": 3, "several": 1}


@pytest.mark.parametrize(
    ("section", "runs"),
    [
        ({"refit": False}, 3 + 1 + 2),  # three runs of 5 epochs are two of 12
        ({}, 2 * (3 + 1) + 2),
        ({"seeds": 5}, 2 * (5 + 2) + 3),
        ({"epochs": 5}, 2 * (3 + 1)),
        ({"snapshots": 1}, 2 * 3 + 2),
    ],
)
def test_controls_cost_what_is_handed_out_may_cost(section: dict[str, Any], runs: int) -> None:
    spec = _spec(**section)
    assert final.runs_at_most(spec) == runs
    unsearched = {"max_lr": 0.1, "cycles": 1, "weight_decay": 0.01, "dropout": 0.1}
    controls = final._controls(spec, EVEN, unsearched)
    assert Counter(map(final._role, controls)) == {"more": runs - spec.final.seeds, "no_hero": runs}
    seeds = [trial.seed for trial in [*final._models(spec, EVEN), *controls]]
    assert len(set(seeds)) == len(seeds)
    assert final._controls(_spec(controls="none"), EVEN, unsearched) == []


def test_runs_leave_out_the_folds_in_turn_and_are_no_more_than_without() -> None:
    folds, spec = Folds((1, 2, 1, 2, 0, 0)), _spec()
    planned = [*final._models(spec, EVEN, folds), *final._controls(spec, EVEN, {"cycles": 1}, folds=folds)]
    assert Counter((final._role(trial), trial.fold) for trial in planned[:6]) == {
        (role, fold): 1 for role in ("one_cycle", "shorter") for fold in range(3)
    }
    assert final._no_snapshots(spec, EVEN, folds) == "cyclical runs would be 1, fewer than the 3 folds"
    assert [trial.seed for trial in planned] == [
        trial.seed
        for trial in [*final._models(spec, EVEN), *final._controls(spec, EVEN, {"cycles": 1})]
        if final._role(trial) != "several"
    ]
    cyclical = final._models(_spec(seeds=6), EVEN, folds)[-3:]
    assert [(final._role(trial), trial.fold) for trial in cyclical] == [("several", fold) for fold in range(3)]


def test_full_controls_cost_what_the_study_cost() -> None:
    """Twelve trials of the search and ten that were confirmed, of 5 epochs each, are ten runs of 12."""
    controls = final._controls(_spec(controls="full"), EVEN, {"cycles": 1})
    assert Counter(map(final._role, controls))["no_hero"] == 10 + 10
    with_short = final._controls(_spec(controls="full"), EVEN, {"cycles": 1}, short=5)
    assert Counter(map(final._role, with_short))["no_hero"] == 10 + 12
