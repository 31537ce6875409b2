"""Leaks and duplicates: found where they are, and not where they are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lab.tasks.table import anomalies
from lab.tasks.table.anomalies import Sentinel, duplicates, far_out, leaks, sentinels

RANDOM = np.random.default_rng(0)
N = 200
FRAME = pd.DataFrame(
    {
        "a": RANDOM.normal(size=N),
        "b": RANDOM.normal(size=N),
        "c": RANDOM.choice(list("xyz"), N),
        "price": RANDOM.normal(size=N).round(1),
        "sold": RANDOM.choice(["no", "yes"], N),
    }
)


@pytest.mark.parametrize(
    ("target", "leak", "expected"),
    [
        ("sold", lambda f: f["sold"].map({"no": 7, "yes": 3}), ("new",)),
        ("sold", lambda f: f["sold"].str.upper(), ("new",)),
        ("price", lambda f: f["price"] * 100 + 3, ("new",)),
        ("a", lambda f: 5 - 2 * f["a"], ("new",)),
        ("price", lambda f: f["price"] - f["a"] + 2 * f["b"], ("a", "b", "new")),
        ("sold", lambda f: f["c"], ()),
        ("price", lambda f: f["price"] + RANDOM.normal(size=N) * 0.01, ()),
        ("sold", lambda f: np.arange(N), ()),
    ],
)
def test_what_says_the_target_exactly_is_a_leak(target: str, leak: object, expected: tuple[str, ...]):
    frame = FRAME.assign(new=leak)
    features = [name for name in frame.columns if name != target]
    assert leaks(frame, features, [target]) == {target: expected}


def test_a_sum_of_very_many_columns_is_a_discovery_and_no_leak():
    columns = RANDOM.normal(size=(400, 12))
    frame = pd.DataFrame(columns, columns=[f"x{i}" for i in range(12)]).assign(y=columns.sum(axis=1))
    assert leaks(frame, [f"x{i}" for i in range(12)], ["y"]) == {"y": ()}
    few = frame.assign(z=columns[:, :8].sum(axis=1))
    assert leaks(few, [f"x{i}" for i in range(12)], ["y", "z"]) == {"y": (), "z": tuple(f"x{i}" for i in range(8))}


def test_a_difference_of_two_columns_that_are_nearly_one_is_found():
    begin = 1.6e9 + RANDOM.uniform(0, 1e8, N).round()
    took = RANDOM.uniform(0, 5_000, N).round()
    frame = pd.DataFrame({"begin": begin, "end": begin + took, "other": RANDOM.normal(size=N), "took": took})
    assert leaks(frame, ["begin", "end", "other"], ["took"]) == {"took": ("begin", "end")}


def test_of_very_many_columns_nobody_looks_for_several_that_add_up(monkeypatch: pytest.MonkeyPatch):
    frame = FRAME.assign(new=FRAME["price"] - FRAME["a"])
    assert leaks(frame, ["a", "b", "new"], ["price"]) == {"price": ("a", "new")}
    monkeypatch.setattr(anomalies, "MOST_TOGETHER", 2)
    assert leaks(frame, ["a", "b", "new"], ["price"]) == {"price": ()}


def test_of_a_wide_table_as_many_rows_are_looked_at_as_leave_no_doubt(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(anomalies, "_SAMPLED_CELLS", 10)
    frame = FRAME.assign(new=FRAME["price"] - FRAME["a"])
    assert leaks(frame, ["a", "b", "new"], ["price"]) == {"price": ("a", "new")}


def test_duplicates_are_rows_whose_features_all_stand_in_training_too():
    frame = pd.DataFrame({"a": [1, 2, 3, 1, 2, 9], "b": list("xyzxqx"), "ignored": range(6)})
    parts = {"valid": frame.iloc[3:5], "test": frame.iloc[5:]}
    assert duplicates(frame.head(3), parts, ["a", "b"]) == {"valid": 1, "test": 0}
    assert duplicates(frame.head(3), parts, ["a"]) == {"valid": 2, "test": 0}
    assert duplicates(frame.head(3), parts, ["a", "b", "ignored"]) == {"valid": 0, "test": 0}


def test_duplicates_are_the_same_values_whatever_form_their_file_has():
    train = pd.DataFrame({"a": ["1", "2.50"], "b": ["True", "x"]}, dtype="str")
    other = pd.DataFrame({"a": [1.0, 2.5, 3.0], "b": pd.Series([True, "x", "x"], dtype="object")})
    assert duplicates(train, {"test": other}, ["a", "b"]) == {"test": 2}


def test_what_lies_far_out_is_found_and_long_tails_are_not():
    values = np.exp(1 + RANDOM.normal(size=600))
    assert far_out(values).tolist() == []
    values[[5, 77, 301]] *= np.array([1e5, 3e5, 2e5])
    assert sorted(far_out(values).tolist()) == [5, 77, 301]
    assert values[far_out(values)[0]] == values.max()
    assert far_out(np.exp(2 * RANDOM.normal(size=600))).tolist() == []  # incomes
    assert far_out(np.array([0.0] * 500 + [1.0, 2.0, 3.0])).tolist() == []
    assert far_out(np.array([0.0] * 500 + [1.0, 2.0, 9e5])).tolist() == [502]
    assert far_out(np.zeros(9)).tolist() == []


@pytest.mark.parametrize(
    ("rest", "marks", "expected"),
    [
        (RANDOM.uniform(0.1, 12, 90), [-200] * 10, {-200: 10}),
        (RANDOM.uniform(647, 2040, 90), [-200] * 10, {-200: 10}),
        (RANDOM.uniform(-20, 40, 90), [-999] * 3, {-999: 3}),
        (RANDOM.integers(18, 90, 90), [999] * 5, {999: 5}),
        (RANDOM.uniform(0, 41_310, 90), [99_999] * 5, {99_999: 5}),
        (RANDOM.normal(size=90), [-1000] * 5, {-1000: 5}),
        (RANDOM.normal(size=90), [-999] * 5 + [9999] * 4, {-999: 5, 9999: 4}),
        (RANDOM.normal(size=90), [-999] * 5 + [-998] * 4, {-999: 5, -998: 4}),
        (RANDOM.normal(size=90), [-999, -999], {}),
        (RANDOM.normal(size=90), [-200.5] * 5, {}),
        (RANDOM.integers(0, 5, 90), [999] * 5, {}),
        (RANDOM.integers(0, 60, 90), [-1] * 9, {}),
        (RANDOM.integers(0, 98, 90), [99] * 9, {}),
        (2.0 ** np.repeat(np.arange(12), 4), [], {}),
        (np.exp(RANDOM.normal(size=90)), [], {}),
        (np.array([0.0] * 80 + [1.0] * 10), [], {}),
    ],
)
def test_a_number_that_may_stand_for_no_value_is_found(rest: np.ndarray, marks: list[float], expected: dict[int, int]):
    marked = sentinels(np.concatenate([rest, marks, [np.nan]]))
    assert marked == tuple(Sentinel(value, count, rest.min(), rest.max()) for value, count in expected.items())
