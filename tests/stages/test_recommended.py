"""What the search recommends, and that confirmation begins with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.record.trials import read_trials
from lab.spec.trial import derive_seed
from lab.stages import confirm, explore
from lab.stages.from_bounds import space_of
from lab.study.study import Study
from tests.small import small_spec

SPACE = {
    "max_lr": {"low": 1e-4, "high": 0.3, "log": True},
    "weight_decay": {"low": 1e-4, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
}
TRIALS = 24


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    spec = small_spec(space=SPACE, search={"trials": TRIALS, "epochs": 1}, execution={"width": 8})
    done = Study.from_spec(spec, tmp_path_factory.mktemp("recommended") / "run")
    done.run(until="confirm")
    return done


def test_the_recommended_trial_is_the_one_expected_to_be_the_best(study: Study) -> None:
    recommended = study.result.recommended_trial
    assert recommended is not None
    rows = read_trials(study.record, "explore")
    expected = explore.expected(
        space_of(study.spec, study.record), "maximize", derive_seed(study.spec.seed, "explore"), rows
    )
    assert (recommended.params, recommended.expected) == (expected[0].params, expected[0].score)
    row = next(row for row in rows if row.number == recommended.trial)
    assert (row.params, row.score) == (recommended.params, recommended.score)
    assert 0 < recommended.expected < 1


def test_confirmation_takes_its_candidates_in_that_order(study: Study) -> None:
    rows = read_trials(study.record, "explore")
    expected = explore.expected(
        space_of(study.spec, study.record), "maximize", derive_seed(study.spec.seed, "explore"), rows
    )
    candidates = [one for one in confirm.STAGE.need(study.record).candidates if one.kind == "one_cycle"]
    searched = [one for one in candidates if one.trial is not None]
    assert [{**one.params, "cycles": 1} for one in expected[: len(searched)]] == [one.params for one in searched]
    assert [one.observed for one in searched] == [rows[one.trial or 0].score for one in searched]
    best = max(row.score for row in rows if row.score is not None)
    assert confirm.STAGE.need(study.record).observed_best.score == best, "it is told of as before"


def test_a_search_of_an_earlier_version_is_confirmed_by_its_best_scores(study: Study) -> None:
    explored = explore.STAGE.need(study.record)
    spec, record = study.spec, study.record
    rows = confirm.best_first(read_trials(record, "explore"), "maximize")
    explore.STAGE.write(record, replace(explored, recommended=None))
    assert confirm._by_expectation(spec, record, rows, "maximize") == rows
    explore.STAGE.write(record, explored)
    assert confirm._by_expectation(spec, record, rows, "maximize") != rows


def test_few_trials_recommend_none(tmp_path: Path) -> None:
    done = Study.from_spec(small_spec(space=SPACE, search={"trials": 8, "epochs": 1}), tmp_path / "run")
    assert done.result.recommended_trial is None, "it has not begun"
    done.run(until="explore")
    explored = explore.STAGE.need(done.record)
    assert explored.recommended is None
    assert explored.params == explored.best.params
