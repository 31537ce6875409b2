"""Placeholders are filled wherever arguments hold them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.training.stacking.layouts import Layout, Value
from lab.training.stacking.operation import Operation, Placeholder, Varying, contains, fill

FIRST, SECOND, SIZE = Placeholder(0), Placeholder(1), Varying(2)


@pytest.mark.parametrize(
    ("structure", "filled"),
    [
        (FIRST, "a"),
        ((FIRST, 7, [SECOND]), ("a", 7, ["b"])),
        ({"x": SECOND, "n": 3}, {"x": "b", "n": 3}),
        (slice(None, SIZE, 2), slice(None, "c", 2)),
        (("x", None, 1.5), ("x", None, 1.5)),
    ],
)
def test_fill_and_contains(structure: Any, filled: Any):
    assert fill(structure, ["a", "b", "c"]) == filled
    assert contains(Placeholder, structure) or contains(Varying, structure) or structure == filled
    assert not contains(Placeholder, filled)


def operation(args: tuple[Any, ...], count: int = 1, **kwargs: Any) -> Operation:
    values = tuple(Value(Layout.SLOTS, (2, 3)) for _ in range(count))
    return Operation(None, "layer", "kind", None, args, kwargs, values, (2, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "called"),
    [
        (operation((FIRST,)), ((1,), {})),
        (operation((FIRST, 5), n=6), ((1, 5), {"n": 6})),
        (operation((FIRST, SECOND), 2), ((1, 2), {})),
        (operation((SECOND, [FIRST]), 2, n=SECOND), ((2, [1]), {"n": 2})),
    ],
)
def test_a_call_puts_tensors_where_the_plain_one_had_them(made: Operation, called: Any):
    function = made.call(lambda *args, **kwargs: (args, kwargs))
    assert function(*[1, 2][: len(made.inputs)]) == called


def test_arguments_by_position_and_by_name():
    made = operation((FIRST, 5), keepdim=True)
    assert (made.argument(1, "dim"), made.argument(2, "keepdim"), made.argument(3, "x", 9)) == (5, True, 9)
    assert str(made.refuse("in odd forms")) == "layer: kind in odd forms"
