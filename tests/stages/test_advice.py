"""A wider range is one that the spec takes, and wider."""

from __future__ import annotations

import pytest

from lab.record.spec_file import parse_override
from lab.spec.space import Choice, Dimension, Float, FromBounds, Int, Space, parse_dimension
from lab.stages.advice import widened


@pytest.mark.parametrize(
    ("dimension", "side", "expected"),
    [
        (Float(1e-4, 1.0, log=True), "high", "space.x.high=10"),
        (Float(1e-4, 1.0, log=True), "low", "space.x.low=1e-05"),
        (Float(0.1, 0.2, log=True), "high", "space.x.high=0.4"),
        (Float(0.0, 8.0), "high", "space.x.high=10"),
        (Float(0.1, 0.5), "low", "space.x.low=0"),
        (Float(0.0, 0.6), "high", "space.x.high=0.75"),
        (Float(0.0, 0.9), "high", "space.x.high=0.95"),
        (Int(1, 9), "high", "space.x.high=11"),
        (Int(16, 256, log=True), "low", "space.x.low=8"),
    ],
)
def test_a_range_grows_by_a_quarter_of_itself(dimension: Dimension, side: str, expected: str):
    space = Space(x=dimension)
    overrides = widened(space, space, {"x": side})
    assert overrides == {"x": expected}
    key, value = parse_override(overrides["x"])
    assert key == f"space.x.{side}"
    assert value > dimension.high if side == "high" else value < dimension.low  # type: ignore[union-attr]


def test_the_range_test_s_range_is_replaced_by_one_that_holds_it():
    declared = Space(max_lr=FromBounds())
    overrides = widened(declared, declared.with_bounds(0.001, 0.1), {"max_lr": "high"})
    key, value = parse_override(overrides["max_lr"])
    assert key == "space.max_lr"
    wider = parse_dimension(key, value)
    assert isinstance(wider, Float)
    assert wider.log
    assert wider.low <= 0.001
    assert wider.high > 0.1


@pytest.mark.parametrize(("dimension", "side"), [(Choice((1, 2)), "high"), (Int(1, 4, log=True), "low")])
def test_where_there_is_nothing_beyond_nothing_is_advised(dimension: Dimension, side: str):
    assert widened(Space(x=dimension), Space(x=dimension), {"x": side}) == {}


@pytest.mark.parametrize("dimension", [Int(1, 3), Int(0, 3), Int(1, 9, log=True)])
def test_what_is_counted_has_no_less_than_its_first(dimension: Dimension):
    space = Space(x=dimension)
    assert widened(space, space, {"x": "low"}) == {}
