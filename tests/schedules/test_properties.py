"""What holds for every kind of schedule, all its values and every length."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lab.errors import SpecError
from lab.schedules import KINDS, Schedule, parse_schedule

from .examples import CHECK, ENDS, PLAIN, SIMPLE, STRATEGIES, schedules, totals

each_kind = pytest.mark.parametrize("kind", list(KINDS))


def fits(schedule: Schedule, total: int) -> bool:
    """Whether a run of `total` steps is long enough; if not, that is said in one line."""
    try:
        schedule.curves([0], total)
    except SpecError as refusal:
        error = refusal
    else:
        return True
    assert "\n" not in str(error)
    assert error.path.startswith("schedule.")
    with pytest.raises(SpecError):
        schedule.cycle_ends(total)
    return False


@each_kind
@CHECK
@given(data=st.data(), total=totals)
def test_a_value_depends_on_step_and_total_only(kind: str, data: st.DataObject, total: int) -> None:
    schedule = data.draw(STRATEGIES[kind])
    assume(fits(schedule, total))
    whole = schedule.curves(None, total)
    asked = np.array(data.draw(st.lists(st.integers(0, total - 1), max_size=20)), dtype=np.int64)
    for curve, part in zip(whole, schedule.curves(asked, total), strict=True):
        assert curve.shape == (total,)
        assert curve.dtype == part.dtype == np.float64
        np.testing.assert_array_equal(part, curve[asked])


@each_kind
@CHECK
@given(data=st.data(), total=totals)
def test_a_resumed_run_takes_the_values_of_an_uninterrupted_one(kind: str, data: st.DataObject, total: int) -> None:
    schedule = data.draw(STRATEGIES[kind])
    assume(fits(schedule, total))
    cut = data.draw(st.integers(0, total))
    stored = json.dumps(schedule.to_dict())
    resumed = parse_schedule(json.loads(stored)).curves(np.arange(cut, total), total)
    for curve, rest in zip(schedule.curves(None, total), resumed, strict=True):
        np.testing.assert_array_equal(rest, curve[cut:])


@pytest.mark.parametrize("kind", list(SIMPLE))
@CHECK
@given(data=st.data(), total=totals)
def test_first_last_and_bounds_are_exact(kind: str, data: st.DataObject, total: int) -> None:
    schedule = data.draw(SIMPLE[kind])
    assume(fits(schedule, total))
    lr = schedule.curves(None, total).lr
    ends = ENDS[kind](schedule, total)
    assert lr[0] == ends.start
    if total > 1:
        assert lr[-1] == ends.final
    assert lr.min() >= ends.low
    assert lr.max() <= ends.high


@each_kind
@CHECK
@given(data=st.data(), total=totals)
def test_momentum_and_weight_decay_stay_in_their_bounds(kind: str, data: st.DataObject, total: int) -> None:
    schedule = data.draw(STRATEGIES[kind])
    assume(fits(schedule, total))
    curves = schedule.curves(None, total)
    assert np.isfinite(curves).all()
    assert (curves.lr >= 0).all()
    assert (curves.weight_decay >= 0).all()
    assert ((curves.momentum >= 0) & (curves.momentum < 1)).all()
    if hasattr(schedule, "momentum_high"):
        assert curves.momentum.min() >= schedule.momentum_low
        assert curves.momentum.max() <= schedule.momentum_high
        assert curves.momentum[0] == schedule.momentum_high
        assert total == 1 or curves.momentum[-1] == schedule.momentum_high


@each_kind
@CHECK
@given(data=st.data(), total=totals)
def test_cycle_ends_ascend_within_the_run(kind: str, data: st.DataObject, total: int) -> None:
    schedule = data.draw(STRATEGIES[kind])
    assume(fits(schedule, total))
    ends = schedule.cycle_ends(total)
    assert ends
    assert all(isinstance(end, int) for end in ends)
    assert all(first < second for first, second in pairwise(ends))
    assert ends[0] >= 0
    assert ends[-1] <= total - 1


@CHECK
@given(schedule=schedules)
def test_spec_round_trip(schedule: Schedule) -> None:
    written = schedule.to_dict()
    assert parse_schedule(written) == schedule
    assert parse_schedule(json.loads(json.dumps(written))) == schedule


@CHECK
@given(schedule=schedules, total=totals)
def test_nested_schedules_are_pure_and_defined(schedule: Schedule, total: int) -> None:
    assume(fits(schedule, total))
    whole = schedule.curves(None, total)
    for step in {0, total // 3, total - 1}:
        assert [float(c[0]) for c in schedule.curves([step], total)] == [float(c[step]) for c in whole]


@each_kind
@pytest.mark.parametrize("total", range(1, 40))
def test_short_runs_are_defined_or_refused(kind: str, total: int) -> None:
    if fits(PLAIN[kind], total):
        assert np.isfinite(PLAIN[kind].curves(None, total)).all()
        assert len(PLAIN[kind].table(total)) == total


@pytest.mark.parametrize("kind", list(SIMPLE))
def test_every_length_to_ten_thousand_begins_and_ends_exactly(kind: str) -> None:
    schedule = PLAIN[kind]
    shortest = next(total for total in range(1, 20) if fits(schedule, total))
    for total in range(max(shortest, 2), 10_001):
        ends = ENDS[kind](schedule, total)
        assert schedule.curves([0, total - 1], total).lr.tolist() == [ends.start, ends.final]


@each_kind
def test_asking_beyond_the_end_is_an_error(kind: str) -> None:
    for step in (-1, 100, 101):
        with pytest.raises(IndexError, match=r"outside the schedule's 0\.\.99"):
            PLAIN[kind].curves([step], 100)


@each_kind
@pytest.mark.parametrize("total", [0, -1, 1.5, True, "100", None])
def test_a_total_is_a_positive_whole_number(kind: str, total: object) -> None:
    with pytest.raises(SpecError, match=r"^schedule\.total: "):
        PLAIN[kind].curves(None, total)
    with pytest.raises(SpecError, match=r"^schedule\.total: "):
        PLAIN[kind].cycle_ends(total)


def test_a_step_is_a_whole_number() -> None:
    with pytest.raises(SpecError, match=r"^schedule\.step: "):
        PLAIN["constant"].curves(np.array([0.5]), 10)
    assert PLAIN["constant"].curves([], 10).lr.shape == (0,)


@each_kind
def test_the_docstring_shows_source_and_picture(kind: str) -> None:
    doc = KINDS[kind].__doc__ or ""
    assert "Source: " in doc
    assert PLAIN[kind].picture() in doc


def test_table_has_a_row_per_step() -> None:
    table = PLAIN["one_cycle"].table(220)
    assert list(table.columns) == ["step", "lr", "momentum", "weight_decay"]
    assert table["step"].tolist() == list(range(220))
    assert table["lr"].iloc[0] == 1 / 25
    assert table["lr"].iloc[-1] == 1 / 1e5
