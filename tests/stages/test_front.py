"""Which trials no other beats in both score and cost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import RecordError
from lab.record.trials import TrialRow
from lab.spec.trial import Outcome, Trial
from lab.stages.front import asked_costs, check_cost, front_of
from tests.small import small_spec


def row(number: int, score: float | None, cost: float | None, outcome: Outcome = Outcome.COMPLETED) -> TrialRow:
    return TrialRow(number, Trial({}, 0, 1), outcome, score, metrics={"parameters": cost})


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=12)


@given(POINTS, st.sampled_from(["maximize", "minimize"]))
def test_it_is_what_comparing_all_pairs_gives(points: list[tuple[int, int]], direction: str):
    sign = -1 if direction == "maximize" else 1
    rows = [row(number, float(score), float(cost)) for number, (score, cost) in enumerate(points)]

    def beaten(number: int) -> bool:
        score, cost = sign * points[number][0], points[number][1]
        others = [(sign * s, c, other) for other, (s, c) in enumerate(points) if other != number]
        return any(s <= score and c <= cost and ((s, c) != (score, cost) or o < number) for s, c, o in others)

    front = front_of(rows, "parameters", direction)
    assert {one.number for one in front} == {number for number in range(len(points)) if not beaten(number)}
    costs = [one.metrics["parameters"] or 0 for one in front]
    assert costs == sorted(costs)


def test_what_has_no_score_or_no_cost_is_not_on_it():
    rows = [
        row(0, 0.5, 9.0),
        row(1, 0.9, None),
        row(2, None, 1.0, Outcome.INFEASIBLE),
        row(3, None, 1.0, Outcome.FAILED),
    ]
    assert [one.number for one in front_of(rows, "parameters", "maximize")] == [0]


@pytest.mark.parametrize(
    ("cost", "line"),
    [
        ("parameter", "'parameter' was not measured (did you mean 'parameters'?); measured were parameters"),
        ("flops", "flops are counted where search.constraints or search.objectives name them"),
    ],
)
def test_a_cost_that_was_not_measured_is_one_line(cost: str, line: str):
    with pytest.raises(RecordError) as refused:
        check_cost([row(0, 0.5, 9.0)], cost)
    assert line in str(refused.value)
    with pytest.raises(RecordError, match="measured were nothing"):
        check_cost([], "parameters")


@pytest.mark.parametrize(
    ("search", "costs"),
    [
        ({}, ()),
        ({"constraints": {"accuracy": {"at_least": 0.5}, "flops": 1}}, ("flops",)),
        ({"constraints": {"flops": 1}, "objectives": ["parameters", "score"]}, ("parameters",)),
    ],
)
def test_a_study_is_about_what_it_trades_off_or_constrains(search: dict[str, Any], costs: tuple[str, ...]):
    assert asked_costs(small_spec(search=search)) == costs
