"""A spec: checked to the last key."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lab.errors import SpecError
from lab.spec.bounds import BoundsSpec
from lab.spec.plan import Until
from lab.spec.search import SearchSpec
from lab.spec.space import Float, Space
from lab.spec.study import StudySpec, parse_spec
from tests.small import small

MAX_LR = {"low": 1e-4, "high": 1.0, "log": True}
BASE: dict[str, Any] = {"name": "a", "task": "digits", "space": {"max_lr": MAX_LR}}


def test_a_minimal_spec_has_every_default():
    spec = parse_spec(BASE)
    assert spec.task.kind == "digits"
    assert spec.space == Space(max_lr=Float(1e-4, 1.0, log=True))
    assert (spec.search.trials, spec.search.epochs, spec.final.epochs) == (64, 27, 60)
    assert spec.execution.lanes == "auto"


def test_a_study_is_the_same_wherever_it_runs():
    one, other = parse_spec(BASE), parse_spec({**BASE, "execution": {"lanes": 3}, "provenance": {"torch": "2"}})
    assert one.what() == other.what()
    assert one.what() != parse_spec({**BASE, "seed": 1}).what()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"serch": {}}, "serch: is unknown (did you mean 'search'?); allowed: name, seed, task"),
        ({"search": {"trails": 3}}, "search.trails: is unknown (did you mean 'trials'?); allowed: sampler"),
        ({"execution": {"lane": 3}}, "execution.lane: is unknown (did you mean 'lanes'?)"),
        ({"search": {"trials": 0}}, "search.trials: 0: input should be greater than or equal to 1"),
        ({"search": {"trials": "3"}}, "search.trials: '3': input should be a valid integer"),
        ({"search": {"trials": True}}, "search.trials: True: "),
        ({"search": {"trials": 3.0}}, "search.trials: 3.0: "),
        ({"search": {"max_failed_share": 0}}, "search.max_failed_share: 0: "),
        ({"search": {"sampler": "tpe"}}, "search.sampler: 'tpe': "),
        ({"search": None}, "search: None is not a mapping of options to values"),
        ({"search": 5}, "search: 5 is not a mapping of options to values"),
        ({"execution": {"engine": "rya"}}, "execution.engine: 'rya': input should be 'auto', 'ray' or 'local'"),
        (
            {"execution": {"lanes": "x"}},
            "execution.lanes: 'x': input should be a valid integer, or input should be 'au",
        ),
        ({"execution": {"gpus_per_lane": 1.5}}, "execution.gpus_per_lane: 1.5 is neither below 1 nor a whole number"),
        ({"execution": {"width": 0}}, "execution.width: 0: input should be greater than or equal to 1, or "),
        ({"name": "a b"}, "name: 'a b': "),
        ({"name": "../x"}, "name: '../x': "),
        ({"name": "a\n"}, r"name: 'a\n': "),
        ({"seed": -1}, "seed: -1: "),
        ({"bounds": {"end": float("inf")}}, "bounds.end: inf: "),
        ({"bounds": {"start": float("nan")}}, "bounds.start: nan: "),
        ({"bounds": {"weight_decays": ["0.1"]}}, "bounds.weight_decays.0: '0.1': "),
        ({"bounds": {"weight_decays": []}}, "bounds.weight_decays: []: "),
        ({"bounds": {"start": 1.0, "end": 0.1}}, "bounds.end: 0.1 is not above start 1.0"),
        ({"final": {"epochs": 3, "snapshots": 4}}, "final.snapshots: 4 is above final.epochs 3"),
        ({"task": {}}, "task.kind: is missing"),
        ({"task": 5}, "task: 5 is not a mapping of options to values"),
        ({"task": {"kind": 5}}, "task.kind: 5: "),
        ({1: 2}, "1: 1: keys should be strings"),
        ({"space": None}, "space: None is not a mapping"),
        ({"space": {}}, "space: is empty"),
        ({"space": {"max_lr": {"low": 1}}}, "space.max_lr: keys ['low']"),
        ({"space": {"x": MAX_LR}}, "space.max_lr: is missing, and schedule.one.max_lr is not given either"),
        ({"schedule": {"one": {"kind": "onecycle"}}}, "schedule.one.kind: 'onecycle' is unknown (did you mean 'one_c"),
        ({"schedule": {"one": {}}}, "schedule.one.kind: None is unknown"),
        (
            {"schedule": {"one": {"kind": "one_cycle", "div_": 1}}},
            "schedule.one.div_: is unknown (did you mean 'div'?)",
        ),
    ],
)
def test_a_bad_value_is_refused_with_place_value_and_what_is_allowed(change: dict[Any, Any], expected: str):
    with pytest.raises(SpecError) as caught:
        parse_spec({**BASE, **change})
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "dimension", "expected"),
    [
        ("cycles", {"choice": [1, 40]}, "space.cycles: 40 cycles do not fit into 27 epochs"),
        ("cycles", {"choice": [0]}, "space.cycles: 0 is not at least 1"),
        ("cycles", {"low": 1, "high": 40, "int": True}, "space.cycles: 40 cycles do not fit into 27 epochs"),
        ("cycles", {"low": 1, "high": 3}, "space.cycles: is a real number"),
        ("pct_start", {"low": -0.5, "high": 0.5}, "space.pct_start: -0.5 is not between 0 and 1 (schedule.one)"),
        ("warmup", {"low": 0.0, "high": 1.0}, "space.warmup: 1.0 is not in [0, 1) (schedule.several)"),
        ("weight_decay", {"low": -1.0, "high": 1.0}, "space.weight_decay: -1.0 is not at least 0 (schedule.one)"),
        ("max_lr", {"low": 0, "high": 1}, "space.max_lr: 0.0 is not above 0 (schedule.one)"),
        ("max_lr", {"low": 0.1, "high": 1, "when": {"d": 1}}, "space.max_lr.when: every trial needs max_lr"),
        ("x", {"low": 0, "high": 1, "when": {"d": 5}}, "space.x.when.d: 5 is not one of [1, 2]"),
    ],
)
def test_a_range_that_would_break_a_trial_is_refused_before_anything_starts(name: str, dimension: Any, expected: str):
    with pytest.raises(SpecError) as caught:
        parse_spec({**BASE, "space": {"d": {"choice": [1, 2]}, "max_lr": MAX_LR, name: dimension}})
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("value", [3, [], "x", None])
def test_what_is_no_mapping_is_no_spec(value: object):
    with pytest.raises(SpecError, match=r"^spec: "):
        parse_spec(value)


@pytest.mark.parametrize("key", list(BASE))
def test_a_missing_key_is_named(key: str):
    with pytest.raises(SpecError, match=rf"^{key}: is missing"):
        parse_spec({k: v for k, v in BASE.items() if k != key})


def test_the_learning_rate_may_be_fixed_in_the_schedule():
    fixed = {"one": {"kind": "one_cycle", "max_lr": 0.1}, "several": {"kind": "snapshot", "max_lr": 0.1}}
    assert isinstance(parse_spec({**BASE, "space": {"x": MAX_LR}, "schedule": fixed}), StudySpec)


def test_trials_auto_is_a_search_that_ends_where_more_trials_gain_nothing():
    value = small(search={"trials": "auto", "epochs": 3})
    spec = parse_spec(value)
    assert (spec.search.trials, spec.until.gain_below_noise) == (64, True)
    assert spec.search.epochs == 3
    assert parse_spec(spec.model_dump(mode="json")) == spec
    assert value["search"]["trials"] == "auto"
    more = parse_spec({**value, "until": {"hours": 2.0}}).until
    assert (more.gain_below_noise, more.hours) == (True, 2.0)
    assert parse_spec({**value, "until": {"gain_below_noise": False}}).until == Until()
    with pytest.raises(SpecError, match="until: 5 is not a mapping"):
        parse_spec({**value, "until": 5})
    with pytest.raises(SpecError, match=r"search\.trials: 'many'"):
        parse_spec(small(search={"trials": "many"}))


def test_a_short_search_has_a_short_range_test():
    bounds = BoundsSpec(seeds=2, steps=50)
    assert bounds.affordable(3000) == [0.001, 0.01, 0.1], "300 steps are a tenth"
    assert bounds.affordable(2999) == [0.01]
    assert bounds.affordable(None) == [0.001, 0.01, 0.1]
    assert BoundsSpec(weight_decays=[0.3, 0.4]).affordable(1) == [0.3, 0.4], "what was asked for stays"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bounds": {"seeds": 10**9}}, "bounds.seeds: 1000000000: input should be less than or equal to 1000"),
        ({"bounds": {"steps": 10**12}}, "bounds.steps: 1000000000000: input should be less than or equal to 1000000"),
        ({"search": {"trials": 10**9}}, "search.trials: 1000000000: input should be less than or equal to 1000000"),
        ({"search": {"epochs": 10**9}}, "search.epochs: 1000000000: input should be less than or equal to 1000000"),
        ({"confirm": {"seeds": 10**6}}, "confirm.seeds: 1000000: input should be less than or equal to 1000"),
        ({"confirm": {"one_cycle": 10**6}}, "confirm.one_cycle: 1000000: input should be less than or equal to 1000"),
        ({"confirm": {"several": 10**6}}, "confirm.several: 1000000: input should be less than or equal to 1000"),
        ({"final": {"seeds": 10**6}}, "final.seeds: 1000000: input should be less than or equal to 1000"),
        ({"final": {"epochs": 10**9}}, "final.epochs: 1000000000: input should be less than or equal to 1000000"),
        ({"final": {"snapshots": 10**6}}, "final.snapshots: 1000000: input should be less than or equal to 1000"),
        ({"execution": {"lanes": 10**9}}, "execution.lanes: 1000000000: input should be less than or equal to 1000000"),
        ({"execution": {"width": 10**9}}, "execution.width: 1000000000: input should be less than or equal to 1000000"),
        ({"batch_size": 10**12}, "batch_size: 1000000000000: input should be less than or equal to 1000000"),
        ({"bounds": {"end": math.inf}}, "bounds.end: inf: input should be a finite number"),
        ({"space": {"n": {"low": 0, "high": 10**17, "int": True}}}, "space.n.high: 100000000000000000 is beyond"),
        ({"space": {"n": {"choice": list(range(2000))}}}, "space.n.choice: has 2000 values; at most 1000 are searched"),
        ({"seed": 2**2000}, "seed: a whole number of 2001 bits is out of range"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_numbers_that_nobody_would_wait_for_are_refused(change: dict[str, Any], said: str):
    with pytest.raises(SpecError) as refused:
        parse_spec(small(**change))
    assert str(refused.value).startswith(said)


def test_a_value_that_holds_itself_is_refused():
    optimizer: dict[str, Any] = {"kind": "adamw"}
    optimizer["betas"] = optimizer
    with pytest.raises(SpecError, match=r"^optimizer\.betas.* is nested more than 64 deep, or within itself"):
        parse_spec(small(optimizer=optimizer))


def test_a_quarter_of_the_trials_may_be_open_unless_a_pruner_looks_at_who_is_first():
    assert [small_search(trials=t).settled().concurrency for t in (1, 3, 16, 64)] == [1, 1, 4, 16]
    assert small_search(trials=64, concurrency=5).settled().concurrency == 5
    assert small_search(pruner={"kind": "forest"}).settled().concurrency is None
    assert small_search(pruner={"kind": "forest"}, concurrency=3).settled().concurrency == 3
    assert small_search(trials=16, concurrency=None).settled().most_open == 4


def small_search(**search: Any) -> SearchSpec:
    return parse_spec(small(search=search)).search


def test_a_study_that_an_earlier_version_began_is_proposed_from_whatever_has_finished():
    resolved = {"machine": "a", "torch": "2"}
    assert parse_spec(small(provenance=resolved)).search.concurrency is None
    assert parse_spec(small(search={"concurrency": 3}, provenance=resolved)).search.concurrency == 3
    assert parse_spec(small(provenance={})).search.concurrency == "auto"


def test_trials_in_a_database_keep_the_name_that_they_had_before_there_was_a_concurrency():
    def name(**search: Any) -> str:
        store = parse_spec(small(storage="sqlite:///trials.db", search={"trials": 16, **search})).store
        assert store is not None
        return store.study

    assert name() == name(concurrency=None) == name(concurrency=4) == "small-3ec6c179e2df"
    assert name(concurrency=5) != name()
