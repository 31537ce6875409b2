"""The range test as a prior within a given range: where it lies, how wide it is, and that it fades."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.errors import SpecError, StudyError
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.response.encode import Encoding
from lab.search.prior import Prior
from lab.spec.distributions import distributions
from lab.spec.study import parse_spec
from lab.stages import bounds
from lab.stages.bounds import Bounds
from lab.stages.from_bounds import sampler_of
from lab.stages.stage import Skipped
from lab.study.cost import trainings
from lab.study.study import Study
from tests.small import small, small_spec

RANGE = {"max_lr": {"low": 1e-6, "high": 10.0, "log": True}, "dropout": {"low": 0.0, "high": 0.5}}
BOUNDS = Bounds(low=1e-3, high=0.5, suggestion=0.01, sure=(0.005, 0.02), weight_decay=None, verdict="agree", runs=())


def with_prior(**more: Any) -> dict[str, Any]:
    sampler = {"kind": "forest", "startup": 8, "prior": {"max_lr": {"from": "bounds"}, **more}}
    return small(space=RANGE, search={"sampler": sampler, "trials": 8})


def _record(folder: Path, tested: Bounds) -> Record:
    record = Record(folder)
    bounds.STAGE.write(record, tested)
    return record


def test_the_bell_lies_at_the_suggestion_and_is_as_wide_as_it_is_unsure(tmp_path: Path) -> None:
    spec = parse_spec(with_prior(dropout={"center": 0.1}))
    narrow = sampler_of(spec, _record(tmp_path, BOUNDS))["prior"]
    assert narrow == {"dropout": {"center": 0.1}, "max_lr": {"center": 0.01, "spread": 0.15}}
    # An interval over all seven decades of the range is a spread of a quarter of it.
    wide = sampler_of(spec, _record(tmp_path, replace(BOUNDS, sure=(1e-6, 10.0))))["prior"]
    assert wide["max_lr"]["spread"] == pytest.approx(0.25)
    # Two marks that lie half of the range apart are a spread of a quarter of it as well.
    apart = sampler_of(spec, _record(tmp_path, replace(BOUNDS, marks=(10**-4.25, 10**-0.75))))["prior"]
    assert apart["max_lr"]["spread"] == pytest.approx(0.25)
    assert sampler_of(spec, _record(tmp_path, replace(BOUNDS, sure=None)))["prior"]["max_lr"]["spread"] == 0.15
    # Where short trainings have decided, it no longer matters how far curves differ.
    decided = replace(BOUNDS, sure=(1e-6, 10.0), suggestion=0.1, by_curve=0.01)
    assert sampler_of(spec, _record(tmp_path, decided))["prior"]["max_lr"] == {"center": 0.1, "spread": 0.15}


def test_it_fades_as_trials_are_told(tmp_path: Path) -> None:
    spec = parse_spec(with_prior())
    prior = Prior(sampler_of(spec, _record(tmp_path, BOUNDS))["prior"])
    encoding = Encoding(distributions(spec.space))
    far = encoding.units([{"max_lr": 1.0, "dropout": 0.2}])
    near = encoding.units([{"max_lr": 0.01, "dropout": 0.2}])
    weights = [prior.weight(encoding, far, count)[0] / prior.weight(encoding, near, count)[0] for count in (5, 50, 500)]
    assert weights == sorted(weights)
    assert weights[0] < 0.1
    assert weights[-1] > 0.95


def test_where_the_range_test_says_nothing_there_is_no_prior(tmp_path: Path) -> None:
    record = Record(tmp_path)
    bounds.STAGE.write(record, Skipped("the range test says nothing"))
    assert sampler_of(parse_spec(with_prior()), record)["prior"] == {}


def test_other_samplers_options_are_left_alone(tmp_path: Path) -> None:
    spec = small_spec()
    assert sampler_of(spec, Record(tmp_path)) is spec.search.sampler


def test_a_study_runs_the_test_keeps_its_range_and_starts_near_the_suggestion(tmp_path: Path) -> None:
    spec = parse_spec(with_prior())
    assert trainings(spec, None)["bounds"][0] == 2
    study = Study.from_spec(spec, tmp_path / "run")
    study.run(until="explore")
    suggestion = bounds.STAGE.need(study.record).suggestion
    rates = np.array([float(row.params["max_lr"]) for row in read_trials(study.record, "explore")])
    decades = np.abs(np.log10(rates / suggestion))
    # Every other trial of the start follows the prior, whose spread is a decade; the rest is even over seven.
    assert np.median(decades[::2]) < 1.2
    assert decades.max() > 1.5


def test_a_range_test_that_says_nothing_does_not_stop_a_study_that_has_its_range(tmp_path: Path) -> None:
    value = with_prior() | {"bounds": {"seeds": 2, "weight_decays": [0.01], "steps": 10, "start": 1e-9, "end": 1e-8}}
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="explore")
    skipped = bounds.STAGE.read(study.record)
    assert isinstance(skipped, Skipped)
    assert "no prior" in skipped.skipped
    assert len(read_trials(study.record, "explore")) == 8
    space = {**RANGE, "max_lr": {"from": "bounds"}}
    needs = parse_spec(value | {"space": space, "search": {"trials": 8, "epochs": 3}})
    with pytest.raises(StudyError, match=r"give space\.max_lr a range"):
        Study.from_spec(needs, tmp_path / "needs").run(until="explore")


@pytest.mark.parametrize(
    ("space", "prior"),
    [
        (RANGE, {"dropout": {"from": "bounds"}}),
        ({**RANGE, "max_lr": {"from": "bounds"}}, {"max_lr": {"from": "bounds"}}),
        ({**RANGE, "max_lr": {"choice": [0.1, 0.2]}}, {"max_lr": {"from": "bounds"}}),
    ],
)
def test_it_is_refused_for_anything_but_a_rate_of_low_and_high(space: Any, prior: Any) -> None:
    with pytest.raises(SpecError, match="'from: bounds' is possible for a max_lr of low and high"):
        parse_spec(small(space=space, search={"sampler": {"kind": "forest", "prior": prior}}))


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        (
            {"droput": {"center": 0.1}},
            r"prior\.droput: is not searched \(did you mean 'dropout'\?\); searched are max_lr",
        ),
        ({"dropout": {"center": 60}}, r"prior\.dropout\.center: 60 is not within space\.dropout, 0\.0 to 0\.6"),
        ({"cycles": {"center": 2}}, r"prior\.cycles: is a choice, whose options have no order"),
    ],
)
def test_a_belief_that_would_say_nothing_is_refused(prior: Any, said: str) -> None:
    space = {**RANGE, "dropout": {"low": 0.0, "high": 0.6}, "cycles": {"choice": [1, 2]}}
    with pytest.raises(SpecError, match=said):
        parse_spec(small(space=space, search={"sampler": {"kind": "forest", "prior": prior}}))


def test_what_the_range_test_gives_may_have_a_center_anywhere() -> None:
    space = {**RANGE, "max_lr": {"from": "bounds"}}
    prior = {"max_lr": {"center": 30.0}}
    assert parse_spec(small(space=space, search={"sampler": {"kind": "forest", "prior": prior}})).needs_range_test
