"""Schedules made of schedules, and lrs per parameter group."""

from __future__ import annotations

import numpy as np
import pytest

from lab.errors import SpecError
from lab.schedules import (
    FGE,
    Constant,
    FlatCosine,
    Join,
    OneCycle,
    Ramp,
    Snapshot,
    discriminative,
    join,
    parse_schedule,
    scale,
    warmup,
)
from lab.spec.plan import Recipe


def test_join_runs_each_part_in_its_own_steps() -> None:
    first, second = FlatCosine(max_lr=1.0, weight_decay=0.1), FGE(max_lr=0.3, momentum=0.5, cycles=2)
    joined = join(first, second, shares=(0.8, 0.2))
    curves = joined.curves(None, 200)
    for mine, a, b in zip(curves, first.curves(None, 160), second.curves(None, 40), strict=True):
        np.testing.assert_array_equal(mine, np.concatenate([a, b]))
    assert joined.cycle_ends(200) == (159, *(160 + end for end in second.cycle_ends(40)))


def test_join_by_steps_gives_the_last_part_the_rest() -> None:
    joined = join(Constant(max_lr=1), Constant(max_lr=2), Constant(max_lr=3), steps=(2, 3))
    assert joined.curves(None, 7).lr.tolist() == [1, 1, 2, 2, 2, 3, 3]
    with pytest.raises(SpecError, match=r"^schedule\.parts\.2: no step of the 5 is left for it$"):
        joined.curves(None, 5)


def test_shares_are_relative_and_exact() -> None:
    parts = tuple(Constant(max_lr=i + 1) for i in range(3))
    assert join(*parts).cycle_ends(9) == (2, 5, 8)
    assert join(*parts, shares=(0.1, 0.2, 0.7)).cycle_ends(10) == (0, 2, 9)
    assert join(*parts, shares=(1, 2, 7)).cycle_ends(10) == (0, 2, 9)


def test_warmup_rises_to_where_the_schedule_starts() -> None:
    inside = Snapshot(max_lr=1.0, cycles=2, warmup=0)
    warmed = warmup(inside, steps=10, div=10)
    curves = warmed.curves(None, 110)
    np.testing.assert_allclose(curves.lr[:11], np.linspace(0.1, 1, 11))
    np.testing.assert_array_equal(curves.lr[10:], inside.curves(None, 100).lr)
    assert curves.lr[0] == 0.1
    assert warmed.cycle_ends(110) == (59, 109)
    assert warmup(inside, share=0.1).curves(None, 100).lr[10] == 1.0


def test_scale_is_of_the_lr_only() -> None:
    inside = OneCycle(max_lr=1.0)
    curves = scale(inside, 4).curves(None, 100)
    np.testing.assert_array_equal(curves.lr, 4 * inside.curves(None, 100).lr)
    np.testing.assert_array_equal(curves.momentum, inside.curves(None, 100).momentum)


def test_errors_name_the_place_inside() -> None:
    nested = warmup(join(Constant(max_lr=1), Snapshot(max_lr=1, cycles=5)), steps=2)
    message = r"^schedule\.schedule\.parts\.1\.cycles: 5 cycles do not fit into 4 steps$"
    with pytest.raises(SpecError, match=message):
        nested.curves(None, 10)
    parts = [{"kind": "constant", "max_lr": 1}, {"kind": "snapshot", "max_lr": -1}]
    with pytest.raises(SpecError, match=r"^one\.schedule\.parts\.1\.max_lr: -1\.0 is not above 0$"):
        parse_schedule({"kind": "warmup", "schedule": {"kind": "join", "parts": parts}}, "one")


def test_searched_fields_reach_the_schedules_inside() -> None:
    parts = [{"kind": "ramp", "start": 0.01, "end": 0.1}, {"kind": "snapshot", "cycles": 2}]
    inside = {"kind": "join", "parts": parts}
    spec = {"kind": "warmup", "schedule": inside, "max_lr": 0.5, "cycles": 3, "weight_decay": 0.2}
    schedule = parse_schedule(spec)
    assert parse_schedule(schedule.to_dict()) == schedule
    joined = schedule.schedule
    assert isinstance(joined, Join)
    assert joined.parts == (
        Ramp(start=0.01, end=0.1, weight_decay=0.2),
        Snapshot(max_lr=0.5, cycles=3, weight_decay=0.2),
    )
    with pytest.raises(SpecError, match=r"^schedule\.cycles: no schedule inside has such a field$"):
        Join(parts=(Constant(max_lr=1),), cycles=3)


def test_a_recipe_searches_through_a_composition() -> None:
    recipe = Recipe(
        one={"kind": "warmup", "schedule": {"kind": "one_cycle"}},
        several={"kind": "warmup", "steps": 3, "schedule": {"kind": "sgdr", "T_mul": 1.5}},
    )
    one = recipe.schedule({"max_lr": 0.1, "cycles": 1, "weight_decay": 0.3, "dropout": 0.5})
    several = recipe.schedule({"max_lr": 0.1, "cycles": 3, "weight_decay": 0.3})
    assert one.curves(None, 100).weight_decay.tolist() == [0.3] * 100
    assert one.curves(None, 100).lr.max() == 0.1
    assert len(several.cycle_ends(100)) == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "join", "parts": []}, r"schedule\.parts: at least one schedule is needed"),
        ({"kind": "join", "parts": 3}, r"schedule\.parts: 3 is not a list"),
        ({"kind": "join", "parts": [3]}, r"schedule\.parts\.0: 3 is not a mapping with a kind"),
        ({"kind": "join"}, r"schedule\.parts: is missing"),
        ({"kind": "scale", "schedule": {"kind": "ramp"}}, r"schedule\.factor: is missing"),
        ({"kind": "scale", "schedule": {"kind": "ramp"}, "factor": 0}, r"schedule\.factor: 0\.0 is not above 0"),
        ({"kind": "warmup", "schedule": {"kind": "ramp"}, "steps": 0}, r"schedule\.steps: 0 is not at least 1"),
        ({"kind": "warmup", "schedule": {"kind": "ram"}}, r"schedule\.schedule\.kind: 'ram' is unknown \(did you mean"),
        (
            {"kind": "join", "parts": [{"kind": "ramp"}] * 2, "shares": [1]},
            r"schedule\.shares: \[1\.0\] are not 2 positive numbers, one per part",
        ),
        (
            {"kind": "join", "parts": [{"kind": "ramp"}] * 2, "steps": [0]},
            r"schedule\.steps: \[0\] are not 1 positive lengths",
        ),
        (
            {"kind": "join", "parts": [{"kind": "ramp"}] * 2, "steps": [1], "shares": [1, 1]},
            r"schedule\.steps: only one of steps and shares can be given",
        ),
    ],
)
def test_bad_compositions_are_one_line(spec: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}"):
        parse_schedule(spec)


def test_a_warmup_leaves_steps_to_its_schedule() -> None:
    with pytest.raises(SpecError, match=r"^schedule\.steps: 5 steps of warm-up leave none of the 5 to the schedule$"):
        warmup(Constant(max_lr=1), steps=5).curves(None, 5)


def test_discriminative_by_divisor_and_by_slice() -> None:
    np.testing.assert_allclose(discriminative(3), [2.6**-2, 2.6**-1, 1])
    assert discriminative(3, divisor=10)[-1] == 1
    np.testing.assert_allclose(np.array(discriminative(5, lrs=(1e-5, 1e-1))) * 1e-1, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    assert discriminative(1) == discriminative(1, lrs=(1e-5, 1e-1)) == (1.0,)
    lows = [scale(OneCycle(max_lr=1), factor).curves([25], 101).lr[0] for factor in discriminative(3)]
    np.testing.assert_allclose(lows, [2.6**-2, 2.6**-1, 1])


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"groups": 0}, "groups"),
        ({"groups": 2.5}, "groups"),
        ({"groups": 2, "divisor": 0.5}, "divisor"),
        ({"groups": 2, "divisor": "2.6"}, "divisor"),
        ({"groups": 2, "lrs": (1e-1, 1e-3)}, "lrs"),
        ({"groups": 2, "lrs": (0, 1e-3)}, "lrs"),
        ({"groups": 2, "lrs": (1e-3, 1e-1), "divisor": 2.6}, "divisor"),
    ],
)
def test_bad_groups_are_one_line(arguments: dict[str, object], argument: str) -> None:
    with pytest.raises(SpecError, match=f"^{argument}: "):
        discriminative(**arguments)
