"""Confirmation races: who is clearly beaten gets no further seeds, and an interrupted race goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.lanes.local import LocalEngine
from lab.record.trials import TrialRow, read_trials
from lab.spec.study import parse_spec
from lab.spec.trial import Outcome, Trial
from lab.stages import confirm
from lab.stages.confirm import Candidate
from lab.stages.job import best_first
from lab.stages.no_hero import no_hero
from lab.stages.race import noise
from lab.stages.statistics import mean_interval
from lab.study.study import Study
from tests.small import small

TASK = '''"""A score that lies where `level` says, give or take a seed."""
from collections.abc import Iterator
import numpy as np
import lab

@lab.trial_function(metric="score", direction="maximize")
def train(trial: lab.Trial) -> Iterator[dict[str, float]]:
    noise = 0.01 * np.random.default_rng(trial.seed).normal()
    for _ in range(trial.epochs):
        yield {"score": float(trial.params["level"]) + noise}
'''


@pytest.fixture
def explored(tmp_path: Path) -> Study:
    (tmp_path / "task.py").write_text(TASK)
    value: dict[str, Any] = {
        "name": "race",
        "task": {"kind": f"{tmp_path}/task.py:train", "root": "/"},
        "space": {"level": {"choice": [0.1, 0.5, 0.9]}, "max_lr": {"low": 0.1, "high": 0.2}},
        "search": {"sampler": {"kind": "random"}, "trials": 12, "epochs": 1},
        "confirm": {"one_cycle": 12, "several": 0, "seeds": 4},
        "execution": {"engine": "local", "lanes": 1},
    }
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="explain")
    return study


def test_the_beaten_get_no_further_seeds_and_the_best_get_all(explored: Study) -> None:
    confirmed = confirm.run(explored.spec, explored.record, LocalEngine(1, lambda progress: True))
    for entry in confirmed.candidates:
        assert len(entry.scores) == 2 or entry.params["level"] == 0.9
    chosen = confirmed.chosen.one_cycle
    assert chosen.params["level"] == 0.9
    assert len(chosen.scores) == 4
    assert chosen.unbiased.low < 0.9 < chosen.unbiased.high
    assert chosen.unbiased.mean <= chosen.summary.mean
    seen = {row.number: row.score for row in read_trials(explored.record, "explore")}
    *searched, unsearched = confirmed.candidates
    assert [entry.observed for entry in searched] == [seen[e.trial] for e in searched if e.trial is not None]
    assert (unsearched.trial, unsearched.observed, unsearched.unbiased) == (None, None, None)
    assert unsearched.params == no_hero(explored.spec, explored.record)
    said = confirm.STAGE.said(confirmed)
    assert said == f"best setup of one cycle {chosen.unbiased.mean:.4g} (observed {chosen.observed:.4g})"


def test_a_setting_that_stands_in_with_other_cycles_has_no_observed_score(explored: Study) -> None:
    kinds = explored.spec.confirm.model_copy(update={"one_cycle": 1, "several": 1})
    spec = explored.spec.model_copy(
        update={"confirm": kinds, "search": explored.spec.search.model_copy(update={"epochs": 2})}
    )
    confirmed = confirm.run(spec, explored.record, LocalEngine(1, lambda progress: True))
    one, several = confirmed.chosen.one_cycle, confirmed.chosen.several
    assert (one.observed is None, several.observed) == (False, None)
    assert "; best setup of several " in confirm.STAGE.said(confirmed)
    assert confirm.STAGE.said(confirmed).count("observed") == 1


def test_an_interrupted_race_goes_on_where_it_was(explored: Study) -> None:
    whole = confirm.run(explored.spec, explored.record, LocalEngine(1, lambda progress: True))
    before = [(row.plan_index, row.score) for row in read_trials(explored.record, "confirm")]
    again = confirm.run(explored.spec, explored.record, LocalEngine(1, lambda progress: True))
    assert again == whole
    assert [(row.plan_index, row.score) for row in read_trials(explored.record, "confirm")] == before


def test_a_stage_that_was_begun_with_another_plan_is_begun_anew(explored: Study) -> None:
    """As by another version, which trained other candidates or other seeds."""
    confirm.run(explored.spec, explored.record, LocalEngine(1, lambda progress: True))
    before = {row.trial.seed for row in read_trials(explored.record, "confirm")}
    searched = read_trials(explored.record, "explore")
    other = explored.spec.model_copy(update={"seed": 1})
    confirmed = confirm.run(other, explored.record, LocalEngine(1, lambda progress: True))
    rows = read_trials(explored.record, "confirm")
    assert not before & {row.trial.seed for row in rows}
    assert len(rows) == confirmed.trials == sum(len(entry.outcomes) for entry in confirmed.candidates)
    assert read_trials(explored.record, "explore") == searched


def test_a_setting_that_was_tried_twice_counts_by_its_mean() -> None:
    scores = {1: (0.1, 0.95), 2: (0.2, 0.91), 3: (0.3, 0.90), 4: (0.4, 0.70), 5: (0.1, 0.89), 6: (0.4, 0.99)}
    rows = [TrialRow(n, Trial({"max_lr": rate}, n, 1), Outcome.COMPLETED, score) for n, (rate, score) in scores.items()]
    spec = parse_spec(small(confirm={"one_cycle": 3, "several": 0}))
    ranked = confirm._by_setting(best_first(rows, "maximize"), "maximize")
    assert [row.number for row in ranked] == [1, 2, 3, 6]
    assert [trial for _, _, trial in confirm._candidates(spec, ranked)] == [1, 2, 3]
    worst_first = confirm._by_setting(best_first(rows, "minimize"), "minimize")
    assert [row.number for row in worst_first] == [4, 3, 2, 5]


def test_who_was_beaten_is_not_chosen_for_having_run_less() -> None:
    def entry(trial: int, scores: list[float], outcomes: list[str]) -> Candidate:
        summary = mean_interval(scores, "score")
        return Candidate("one_cycle", trial, {}, tuple(scores), tuple(outcomes), summary)

    steady = ["completed"] * 4
    beaten = entry(1, [0.8, 0.8], steady[:2])
    shaky = entry(2, [0.95, 0.95, 0.95], [*steady[:3], "diverged"])
    even = entry(3, [0.9] * 4, steady)
    for entries, expected in (([beaten, shaky], 2), ([beaten, shaky, even], 3)):
        chosen = confirm._choose(entries, "one_cycle", "maximize")
        assert chosen is not None
        assert chosen.trial == expected


def test_the_luck_of_the_best_of_several_does_not_beat_what_was_not_searched() -> None:
    scores = {54: [0.9722, 0.9861, 0.9833, 0.9861], 7: [0.9778, 0.975, 0.9833, 0.975], 25: [0.9806, 0.9778] * 2}

    def entry(trial: int | None, of: list[float]) -> Candidate:
        return Candidate("one_cycle", trial, {}, tuple(of), ("completed",) * 4, mean_interval(of, "accuracy"))

    searched = [entry(trial, of) for trial, of in scores.items()]
    spread = noise([one.scores for one in searched])
    searched = [replace(one, unbiased=confirm._unbiased(one, searched, "accuracy", spread)) for one in searched]
    usual, worse = (entry(None, [0.9778, 0.9778, 0.9806, last]) for last in (0.9833, 0.97))
    for entries, expected in (([*searched, usual], None), ([*searched, worse], 54), (searched, 54)):
        chosen = confirm._choose(entries, "one_cycle", "maximize")
        assert chosen is not None
        assert chosen.trial == expected


def test_a_study_whose_search_is_beaten_by_no_search_says_so(explored: Study) -> None:
    """Only the worst setting races, against the settings that nobody searched, of which the level is better."""
    rows = [row for row in read_trials(explored.record, "explore") if row.params["level"] == 0.1][:1]
    setup = {**rows[0].params, "cycles": 1}
    planned: list[Any] = [("one_cycle", setup, rows[0].number), ("one_cycle", {**setup, "level": 0.5}, None)]
    entries = confirm._race(explored.spec, explored.record, LocalEngine(1, lambda progress: True), planned, "maximize")
    chosen = confirm._choose(entries, "one_cycle", "maximize")
    assert chosen is not None
    assert chosen.trial is None
    assert chosen.mean == chosen.summary.mean
    assert confirm._described(chosen) == f"no setup beat the unsearched one of one cycle {chosen.mean:.4g}"
