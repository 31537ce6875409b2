"""Reading a schedule as a spec writes it: each bad input is one line that names place, value and what is allowed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lab.errors import SpecError
from lab.schedules import KINDS, OneCycle, Schedule, parse_schedule, schedule_class

WITH_PEAK = [kind for kind in KINDS if kind not in ("ramp", "join", "warmup", "scale")]


@pytest.mark.parametrize("kind", WITH_PEAK)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, r"0\.0 is not above 0"),
        (-0.1, r"-0\.1 is not above 0"),
        ("0.1", "'0.1' is not a number"),
        (True, "True is not a number"),
        (None, "None is not a number"),
        (float("nan"), "nan is not finite"),
        (float("inf"), "inf is not finite"),
        (10**400, "1000"),
    ],
)
def test_max_lr_is_a_positive_number(kind: str, value: object, message: str) -> None:
    with pytest.raises(SpecError, match=rf"^schedule\.max_lr: {message}") as caught:
        parse_schedule({"kind": kind, "max_lr": value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", WITH_PEAK)
def test_max_lr_is_needed_where_there_is_a_peak(kind: str) -> None:
    with pytest.raises(SpecError, match=r"^schedule\.max_lr: is missing$"):
        parse_schedule({"kind": kind})


@pytest.mark.parametrize("kind", ["snapshot", "sgdr", "cyclical", "fge", "flat_cosine", "wsd", "polynomial"])
def test_min_lr_is_not_above_max_lr(kind: str) -> None:
    with pytest.raises(SpecError, match=r"^schedule\.min_lr: 0\.5 is not between 0 and max_lr 0\.1$"):
        parse_schedule({"kind": kind, "max_lr": 0.1, "min_lr": 0.5})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "sgdr", "T_mul": 0}, r"T_mul: 0\.0 is not above 0"),
        ({"kind": "sgdr", "T_mul": -1}, r"T_mul: -1\.0 is not above 0"),
        ({"kind": "sgdr", "cycles": 0}, "cycles: 0 is not at least 1"),
        ({"kind": "sgdr", "period": 0}, "period: 0 is not at least 1"),
        ({"kind": "sgdr", "period": 5, "cycles": 2}, "period: 5 and cycles 2: only one of them can be given"),
        ({"kind": "sgdr", "decay": 1.5}, r"decay: 1\.5 is not in \(0, 1\]"),
        ({"kind": "snapshot", "cycles": 2.5}, r"cycles: 2\.5 is not a whole number"),
        ({"kind": "snapshot", "cycles": True}, "cycles: True is not a whole number"),
        ({"kind": "snapshot", "cycles": "3"}, "cycles: '3' is not a whole number"),
        ({"kind": "snapshot", "warmup": 1}, r"warmup: 1\.0 is not in \[0, 1\)"),
        ({"kind": "snapshot", "momentum": 1}, r"momentum: 1\.0 is not in \[0, 1\)"),
        ({"kind": "snapshot", "weight_decay": -1}, r"weight_decay: -1\.0 is not at least 0"),
        ({"kind": "cyclical", "mode": "triangle"}, r"mode: 'triangle' is unknown \(did you mean 'triangular'\?\)"),
        ({"kind": "cyclical", "mode": 2}, "mode: 2 is unknown; choices: triangular, triangular2, exp_range"),
        ({"kind": "cyclical", "gamma": 1.1}, r"gamma: 1\.1 is not in \(0, 1\]"),
        ({"kind": "cyclical", "step_size": 0}, "step_size: 0 is not at least 1"),
        ({"kind": "fge", "period": 1}, "period: 1 is not at least 2"),
        ({"kind": "one_cycle", "pct_start": 1}, r"pct_start: 1\.0 is not between 0 and 1"),
        ({"kind": "one_cycle", "three_phase": True, "pct_start": 0.5}, r"pct_start: 0\.5 is not between 0 and 0\.5"),
        ({"kind": "one_cycle", "three_phase": 1}, "three_phase: 1 is not true or false"),
        ({"kind": "one_cycle", "momentum_low": 0.97}, r"momentum_low: 0\.97 and momentum_high 0\.95: "),
        ({"kind": "one_cycle", "div": 0.5}, r"div: 0\.5 is not at least 1"),
        ({"kind": "one_cycle", "max_lrs": 1}, r"max_lrs: is unknown \(did you mean 'max_lr'\?\); allowed: "),
        ({"kind": "wsd", "warmup": 0.6, "cooldown": 0.6}, r"cooldown: 0\.6 and warmup 0\.6 are more than 1 in all"),
        ({"kind": "step", "milestones": [0.5, 0.5]}, r"milestones: \[0\.5, 0\.5\] do not ascend between 0 and 1"),
        ({"kind": "step", "milestones": [0.5, "x"]}, r"milestones\.1: 'x' is not a number"),
        ({"kind": "step", "milestones": 0.5}, r"milestones: 0\.5 is not a list"),
        ({"kind": "constant", "preset": "torch"}, "preset: 'torch' is unknown; constant has no presets"),
    ],
)
def test_bad_values_are_one_line(spec: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=rf"^study\.schedule\.{message}") as caught:
        parse_schedule({"max_lr": 0.1, **spec}, "study.schedule")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "total", "message"),
    [
        ({"kind": "snapshot", "cycles": 5}, 4, r"cycles: 5 cycles do not fit into 4 steps$"),
        ({"kind": "sgdr", "cycles": 5, "T_mul": 1}, 4, r"cycles: 5 cycles do not fit into 4 steps$"),
        ({"kind": "sgdr", "cycles": 3}, 6, r"cycles: 3 cycles with T_mul 2\.0 do not fit into 6 steps$"),
    ],
)
def test_more_cycles_than_steps_are_one_line(spec: dict[str, object], total: int, message: str) -> None:
    with pytest.raises(SpecError, match=rf"^schedule\.{message}"):
        parse_schedule({"max_lr": 0.1, **spec}).curves(None, total)


def test_a_ramp_goes_up() -> None:
    with pytest.raises(SpecError, match=r"^schedule\.end: 0\.1 is not above start 1\.0$"):
        parse_schedule({"kind": "ramp", "start": 1, "end": 0.1})
    with pytest.raises(SpecError, match=r"^schedule\.start: 1e-300 is too far below end 1e\+300$"):
        parse_schedule({"kind": "ramp", "start": 1e-300, "end": 1e300})


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"^x\.kind: 'one_cycel' is unknown \(did you mean 'one_cycle'\?\); choices: "):
        schedule_class("one_cycel", "x")
    for kind in (None, 3, ["sgdr"]):
        with pytest.raises(SpecError, match=r"^schedule\.kind: "):
            parse_schedule({"kind": kind})
    with pytest.raises(SpecError, match=r"^schedule: 'sgdr' is not a mapping with a kind$"):
        parse_schedule("sgdr")


def test_values_become_plain() -> None:
    schedule = OneCycle(max_lr=np.float32(0.5), three_phase=np.bool_(False), div=10)
    assert all(type(value) in (float, str, bool) for value in schedule.to_dict().values())
    assert KINDS["snapshot"](max_lr=1, cycles=np.int64(3)).to_dict()["cycles"] == 3


def test_schedules_are_values() -> None:
    a, b = OneCycle(max_lr=1), OneCycle(max_lr=1.0)
    assert a == b
    assert hash(a) == hash(b)
    with pytest.raises(AttributeError):
        a.max_lr = 2  # type: ignore[misc]
    assert all(issubclass(cls, Schedule) and cls.kind == kind for kind, cls in KINDS.items())


def test_importing_schedules_imports_no_framework() -> None:
    heavy = "{'torch', 'ray', 'pandas', 'plotly'}"
    code = f"import sys, lab.schedules; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
