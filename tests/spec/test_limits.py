"""Constraints and objectives as they are written: what is meant, and what is refused in a line."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lab.errors import SpecError
from lab.spec.limits import Limit, broken, limits_of
from lab.spec.search import SearchSpec
from tests.small import small_spec


def test_a_number_is_a_most():
    search = small_spec(search={"constraints": {"parameters": 100_000, "recall": {"at_least": 0.9}}}).search
    assert search.limits == (Limit("parameters", 100_000.0), Limit("recall", 0.9, at_least=True))
    assert small_spec(search={"constraints": search.constraints}).search == search


def test_nothing_is_asked_for_by_default():
    for search in (SearchSpec(), small_spec(search={"constraints": {}}).search):
        assert search.constraints is None
        assert search.limits == ()
        assert search.costs == ()


@pytest.mark.parametrize(
    ("limit", "measured", "why"),
    [
        (Limit("flops", 2e6), 2e6, ""),
        (Limit("flops", 2e6), 2_000_001.0, "flops 2,000,001 is above 2,000,000"),
        (Limit("recall", 0.9, at_least=True), 0.9, ""),
        (Limit("recall", 0.9, at_least=True), 0.85, "recall 0.85 is below 0.9"),
        (Limit("recall", 0.9), math.nan, "recall is nan"),
        (Limit("recall", 0.9), None, "recall is missing"),
    ],
)
def test_a_limit_says_what_breaks_it(limit: Limit, measured: float | None, why: str):
    assert broken([limit], {limit.name: measured}) == why


def test_what_is_not_there_meets_no_limit():
    assert (
        broken(limits_of({"a": {"at_most": 1.0}, "b": {"at_least": 1.0}}), {"b": 0.0}) == "a is missing; b 0 is below 1"
    )


@pytest.mark.parametrize(
    ("search", "line"),
    [
        ({"constraints": 5}, "search.constraints: 5 is not a mapping"),
        ({"constraints": {"parameters": 0}}, "search.constraints.parameters: 0 is not above 0"),
        ({"constraints": {"flops": {"at_least": -1}}}, "search.constraints.flops.at_least: -1 is not above 0"),
        ({"constraints": {"flops": "2e6"}}, "search.constraints.flops: '2e6' is not a finite number"),
        ({"constraints": {"flops": True}}, "search.constraints.flops: True is not a finite number"),
        ({"constraints": {"recall": math.inf}}, "is not a finite number"),
        ({"constraints": {"recall": {"atmost": 1}}}, "search.constraints.recall.atmost: is unknown (did you mean"),
        ({"constraints": {"recall": {}}}, "search.constraints.recall: is empty"),
        ({"constraints": {"recall": {"at_least": 2, "at_most": 1}}}, "at_most 1 is below at_least 2"),
        ({"constraints": {"score": 1}}, "search.constraints.score: is constrained by its metric's own name"),
        ({"constraints": {"seconds": 1}}, "search.constraints.seconds: depends on the machine"),
        ({"objectives": ["score", "seconds"]}, "search.objectives: seconds: depends on the machine"),
        ({"objectives": "score"}, "search.objectives: 'score' is not a list of score, parameters, flops"),
        ({"objectives": ["score"]}, "is no trade-off; score is needed, and one of parameters, flops"),
        ({"objectives": []}, "is no trade-off"),
        ({"objectives": ["parameters", "flops"]}, "is no trade-off; score is needed"),
        ({"objectives": ["score", "parameter"]}, "'parameter' is unknown (did you mean 'parameters'?)"),
        ({"objectives": ["score", "flops", "flops"]}, "search.objectives: names flops twice"),
        ({"objectives": ["score", 3]}, "search.objectives: 3 is unknown"),
        ({"objectives": ["score", "flops"], "sampler": {"kind": "tpe"}}, "'tpe' searches one objective"),
        ({"objectives": ["score", "flops"], "pruner": {"kind": "forest"}}, "'forest' stops trials by their score"),
        ({"objectives": ["score", "flops"], "trials": "auto"}, "search.trials 'auto' sets it"),
    ],
)
def test_bad_input_is_one_line(search: dict[str, Any], line: str):
    with pytest.raises(SpecError) as refused:
        small_spec(search=search)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("asked", [{"constraints": {"flops": 1}}, {"objectives": ["score", "parameters"]}])
def test_a_loop_of_ones_own_has_no_model_to_count(asked: dict[str, Any]):
    loop = {"kind": "lab.tasks.own_loop:OwnLoop"}
    with pytest.raises(SpecError, match="has no model to count"):
        small_spec(task=loop, space={"x": {"low": 0, "high": 1}}, search=asked)


def test_a_database_keeps_the_name_of_a_study_that_asks_for_neither():
    plain, asked = (
        small_spec(storage="sqlite:////tmp/never.db", search=search)
        for search in ({}, {"constraints": {"parameters": 5}})
    )
    assert plain.store is not None
    assert asked.store is not None
    assert plain.store.study == "small-c3e77e275101"
    assert asked.store.study != plain.store.study
