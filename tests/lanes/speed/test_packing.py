"""How many slots are trained as one: by what was timed, and by how many rows stay empty."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.lanes.engine import Probe
from lab.lanes.speed.packing import Packing, best_stack, cost, fastest, filled, narrowed, pack, settle

TIMES = {("sequential", 1): 1.0, ("stacked", 1): 0.8, ("stacked", 2): 0.5, ("stacked", 4): 0.3, ("stacked", 8): 0.2}


@pytest.mark.parametrize(
    ("width", "stack", "groups"), [(3, 2, 2), (4, 2, 3), (4, 4, 2), (5, 1, 3), (4, 2, 1), (5, 2, 1)]
)
def test_the_share_of_filled_rows_is_that_of_all_ways_to_fall_into_groups(width: int, stack: int, groups: int):
    rows = []
    for way in product(range(groups), repeat=width):
        rows.append(sum(stack * -(-way.count(group) // stack) for group in range(groups)))
    assert filled(width, stack, groups) == pytest.approx(width / (sum(rows) / len(rows)))


@given(width=st.integers(1, 64), stack=st.integers(1, 64), groups=st.integers(1, 40))
def test_a_share_is_a_share_and_single_rows_are_never_empty(width: int, stack: int, groups: int):
    assert 0 < filled(width, stack, groups) <= 1 + 1e-9
    assert filled(width, 1, groups) == pytest.approx(1)


def test_of_one_group_the_fastest_width_is_taken_and_all_of_it_is_one_stack():
    assert pack(TIMES, 8, 1) == Packing("stacked", 8, 8)
    assert pack(TIMES, 4, 1) == Packing("stacked", 4, 4)
    assert pack({**TIMES, ("stacked", 8): 0.29}, 8, 1) == Packing("stacked", 4, 4), "5 % must be gained"
    assert pack({("sequential", 1): 1.0}, 8, 1) == Packing("sequential", 1, 1)
    assert best_stack(TIMES, "stacked", 7, 1) == 7, "a width that was not timed"


def test_of_several_groups_stacks_are_narrower_than_the_lane():
    assert pack(TIMES, 8, 3) == Packing("stacked", 8, 4)
    packing = pack(TIMES, 8, 1000)
    assert packing.stack == 1, "when every trial is of a group of its own, nothing is gained by width"
    best = min((cost(TIMES, Packing("stacked", 8, k), 3), k) for k in (1, 2, 4, 8))
    assert best_stack(TIMES, "stacked", 8, 3) == best[1]


def test_never_slower_than_one_after_the_other():
    slow = {("sequential", 1): 1.0, ("stacked", 1): 1.2, ("stacked", 2): 0.9}
    assert pack(slow, 2, 1) == Packing("stacked", 2, 2)
    assert pack(slow, 2, 2) == Packing("sequential", 1, 1), "with its empty rows paid for it is slower"


@pytest.mark.parametrize(
    ("path", "groups", "width", "expected"),
    [
        ("stacked", {}, None, Packing("stacked", 8, 8)),
        ("stacked", {"batch_size": 3}, 6, Packing("stacked", 6, 4)),
        ("sequential", {}, 5, Packing("stacked", 5, 5)),
        ("function", {}, 4, Packing("function", 8, 8)),
    ],
)
def test_a_width_that_is_given_is_kept(path: str, groups: dict[str, int], width: Any, expected: Packing):
    assert settle(Probe(path, 8, "", TIMES, 8, groups), width) == expected


def test_where_lanes_are_narrower_the_same_times_say_another_width():
    wide = fastest(TIMES, 8, {}, ("not vmap: why",))
    assert (wide.path, wide.width) == ("stacked", 8)
    packing = narrowed(wide, 2)
    assert (packing.path, packing.width, packing.stack) == ("stacked", 2, 2)
    assert packing.reason == "fastest of 5 timed: 2.0 times sequential; not vmap: why"
    assert narrowed(wide, 8) is wide
    function = Probe("function", 1, "", {})
    assert narrowed(function, 1) is function
