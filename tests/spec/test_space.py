"""Spaces: what may be searched, written and read back, and each way of getting it wrong."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import SpecError
from lab.spec.space import (
    Choice,
    Dimension,
    Float,
    FromBounds,
    Int,
    Space,
    Value,
    between,
    dump_dimension,
    parse_dimension,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-300, allow_nan=False, allow_infinity=False)
option = st.one_of(st.booleans(), st.integers(), finite, st.text())
whens = st.dictionaries(st.text(), st.lists(option, min_size=1).map(tuple), max_size=2)


@st.composite
def dimensions(draw: st.DrawFn) -> Dimension:
    when = draw(whens)
    kind = draw(st.sampled_from(["float", "log", "int", "choice", "bounds"]))
    if kind in ("float", "log"):
        low, high = sorted(draw(st.tuples(*[positive if kind == "log" else finite] * 2)))
        return Float(low, high, kind == "log", when)
    if kind == "int":
        low_int, high_int = sorted(draw(st.tuples(*[st.integers(1, 10**12)] * 2)))
        return Int(low_int, high_int, draw(st.booleans()), when)
    if kind == "choice":
        return Choice(tuple(draw(st.lists(option, min_size=1, unique=True))), when)
    return FromBounds(when)


@given(dimensions())
def test_a_dimension_is_read_back_as_it_was_written(dimension: Dimension):
    path = "space.max_lr"
    assert parse_dimension(path, dump_dimension(dimension)) == dimension
    assert parse_dimension(path, dimension) is dimension


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        (3, "space.x", "3 is not one of"),
        (None, "space.x", "None is not one of"),
        ([1, 2], "space.x", r"\[1, 2\] is not one of"),
        ({}, "space.x", r"keys \[\] are not one of"),
        ({"low": 1}, "space.x", r"keys \['low'\] are not one of"),
        ({"low": 1, "high": 2, "logg": True}, "space.x", "'logg'"),
        ({1: 2, "low": 3}, "space.x", "are not one of"),
        ({"low": 2, "high": 1}, "space.x", "low 2 is above high 1"),
        ({"low": "a", "high": 1}, "space.x.low", "'a' is not a finite number"),
        ({"low": 0, "high": math.inf}, "space.x.high", "inf is not a finite number"),
        ({"low": math.nan, "high": 1}, "space.x.low", "nan is not a finite number"),
        ({"low": 0, "high": 10**400}, "space.x.high", "is not a finite number"),
        ({"low": False, "high": 1}, "space.x.low", "False is not a finite number"),
        ({"low": 0, "high": 1, "log": True}, "space.x.low", "0 is not above 0"),
        ({"low": 0, "high": 1, "log": 1}, "space.x.log", "1 is not true or false"),
        ({"low": 0, "high": 1.5, "int": True}, "space.x.high", "1.5 is not a whole number"),
        ({"low": 0, "high": 1, "int": "yes"}, "space.x.int", "'yes' is not true or false"),
        ({"choice": 3}, "space.x.choice", "3 is not a list"),
        ({"choice": []}, "space.x.choice", "at least one value"),
        ({"choice": [1, 1]}, "space.x.choice", "twice"),
        ({"choice": [1, True]}, "space.x.choice", "twice"),
        ({"choice": [[1], 2]}, "space.x.choice", r"\[1\] is not a number, a string or a boolean"),
        ({"choice": [None]}, "space.x.choice", "None is not a number"),
        ({"choice": [math.nan]}, "space.x.choice", "nan is not a number"),
        ({"from": "bounds"}, "space.x", "possible for max_lr only"),
        ({"from": "bound"}, "space.x.from", "'bound' is not 'bounds'"),
        ({"low": 0, "high": 1, "when": 3}, "space.x.when", "3 is not a mapping"),
    ],
)
def test_a_bad_dimension_is_refused_in_one_line_with_its_place(value: Any, path: str, message: str):
    with pytest.raises(SpecError, match=message) as caught:
        Space({"x": parse_dimension("space.x", value)})
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parent", "when", "path", "message"),
    [
        (Choice(("mlp", "cnn")), {"mode": ("cnn",)}, "space.x.when", "'mode' must be a parameter declared above it"),
        (Choice(("mlp", "cnn")), {"model": ("cnnn",)}, "space.x.when.model", "did you mean 'cnn'"),
        (Choice(("mlp", "cnn")), {"model": ()}, "space.x.when.model", "is empty"),
        (Int(1, 3), {"model": (4,)}, "space.x.when.model", "4 is not a whole number from 1 to 3"),
        (Float(1, 3), {"model": (2,)}, "space.x.when.model", "single values"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(parent: Dimension, when: Any, path: str, message: str):
    with pytest.raises(SpecError, match=message) as caught:
        Space(model=parent, x=Float(0, 1, when=when)).check_conditions()
    assert caught.value.path == path


def test_what_is_no_dimension_is_refused():
    with pytest.raises(SpecError, match=r"space\.x: \(0, 1\) is not a Float, Int, Choice or FromBounds"):
        Space(x=(0, 1))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="is empty"):
        Space()


def test_a_conditional_parameter_exists_where_its_parents_say_so():
    space = Space(
        model=Choice(("mlp", "cnn")),
        depth=Int(1, 3, when={"model": ("cnn",)}),
        width=Int(1, 9, when={"model": ("cnn",), "depth": (2, 3)}),
    )
    assert not space.active("depth", {"model": "mlp"})
    assert space.active("depth", {"model": "cnn"})
    assert space.active("width", {"model": "cnn", "depth": 3})
    assert not space.active("width", {"model": "cnn", "depth": 1})
    assert not space.active("width", {"model": "mlp"})


def test_bounds_replace_what_asks_for_them_and_keep_its_condition():
    space = Space(cycles=Choice((1, 2)), max_lr=FromBounds({"cycles": (1,)}), x=Float(0, 1))
    assert space.needs_bounds
    bounded = space.with_bounds(1e-3, 1e-1)
    assert not bounded.needs_bounds
    assert list(bounded) == ["cycles", "max_lr", "x"]
    assert bounded["max_lr"] == Float(1e-3, 1e-1, log=True, when={"cycles": (1,)})


def test_a_space_is_a_value():
    space = Space(x=Float(0, 1), y=Int(1, 2))
    assert pickle.loads(pickle.dumps(space)) == space == Space({"x": Float(0, 1), "y": Int(1, 2)})
    assert space["x"] == Float(0, 1)


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Int(2, 4), [2, 3, 4]),
        (Float(2.5, 4.0), [2.5, 4.0, 3, 4]),
        (Float(0.1, 0.9), [0.1, 0.9]),
        (Choice(("a", "b")), ["a", "b"]),
        (Float(0.0, 1e9), [0.0, 1e9]),
    ],
)
def test_whole_numbers_between_the_ends_are_values_too(dimension: Dimension, values: list[Value]) -> None:
    assert [*between(dimension)] == values
