"""Splits as properties: disjoint, complete, by class, by group, by time, and the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import SpecError, TaskError
from lab.tasks.splits import Rows, SplitPlan, described, make_folds, make_split

SHARES = st.floats(0.05, 0.4)
QUICK = settings(max_examples=40, deadline=None)


def _is_partition(parts: Rows, n: int) -> bool:
    together = np.concatenate(list(parts.values()))
    ascending = all((np.diff(rows) > 0).all() for rows in parts.values())
    return ascending and len(together) == n and len(np.unique(together)) == n


@QUICK
@given(n=st.integers(10, 300), valid=SHARES, test=SHARES, seed=st.integers(0, 5), with_test=st.booleans())
def test_a_random_split_is_disjoint_complete_and_of_the_shares_asked_for(
    n: int, valid: float, test: float, seed: int, with_test: bool
):
    parts = make_split(SplitPlan("random", None, valid, test, seed), n, None, None, with_test)
    assert _is_partition(parts, n)
    assert set(parts) == {"train", "valid", *(["test"] if with_test else [])}
    assert len(parts["valid"]) == max(round(n * valid), 1)
    if with_test:
        assert len(parts["test"]) == max(round(n * test), 1)


@QUICK
@given(counts=st.lists(st.integers(3, 60), min_size=2, max_size=6), valid=SHARES, test=SHARES, seed=st.integers(0, 5))
def test_a_stratified_split_has_each_class_in_its_share(counts: list[int], valid: float, test: float, seed: int):
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    plan = SplitPlan("stratified", None, valid, test, seed)
    parts = make_split(plan, len(classes), classes, None)
    assert _is_partition(parts, len(classes))
    for number, count in enumerate(counts):
        drawn = {split: int((classes[rows] == number).sum()) for split, rows in parts.items()}
        assert min(drawn.values()) >= 1
        if count >= 10:
            assert (drawn["valid"], drawn["test"]) == (max(round(count * valid), 1), max(round(count * test), 1))


@QUICK
@given(
    shares=st.lists(st.floats(0.01, 0.9), min_size=2, max_size=6),
    n=st.integers(40, 300),
    valid=SHARES,
    test=SHARES,
    seed=st.integers(0, 5),
    with_test=st.booleans(),
)
def test_a_stratified_split_has_each_label_in_its_share(
    shares: list[float], n: int, valid: float, test: float, seed: int, with_test: bool
):
    labels = (np.random.default_rng(seed).random((n, len(shares))) < shares).astype(np.int64)
    parts = make_split(SplitPlan("auto", None, valid, test, seed), n, labels, None, with_test)
    assert _is_partition(parts, n)
    wanted = {"valid": valid, "test": test} if with_test else {"valid": valid}
    for split, share in wanted.items():
        assert abs(len(parts[split]) - max(round(n * share), 1)) <= 1 + len(shares)
        np.testing.assert_allclose(labels[parts[split]].sum(axis=0), share * labels.sum(axis=0), atol=1 + len(shares))


def test_a_label_of_four_rows_is_in_every_split_whatever_the_seed():
    for seed in range(50):
        random = np.random.default_rng(seed)
        labels = (random.random((200, 3)) < (0.5, 0.16, 0)).astype(np.int64)
        labels[random.choice(200, 4, replace=False), 2] = 1
        parts = make_split(SplitPlan(seed=seed), 200, labels, None)
        assert [int(labels[parts[split], 2].sum()) for split in ("train", "valid", "test")] == [2, 1, 1]
        assert [len(parts[split]) for split in ("train", "valid", "test")] == pytest.approx([120, 40, 40], abs=2)


@QUICK
@given(groups=st.lists(st.integers(0, 25), min_size=30, max_size=120), seed=st.integers(0, 5))
def test_rows_of_a_group_stay_together(groups: list[int], seed: int):
    by = np.array(groups)
    if len(np.unique(by)) < 5:
        return
    parts = make_split(SplitPlan("grouped", "g", seed=seed), len(by), None, by)
    assert _is_partition(parts, len(by))
    held = [set(by[rows]) for rows in parts.values()]
    assert sum(map(len, held)) == len(set.union(*held))


@QUICK
@given(times=st.lists(st.integers(0, 1000), min_size=20, max_size=120, unique=True), valid=SHARES, test=SHARES)
def test_training_rows_are_older_than_validation_rows_and_those_older_than_test_rows(
    times: list[int], valid: float, test: float
):
    by = np.array(times)
    parts = make_split(SplitPlan("time", "t", valid, test), len(by), None, by)
    assert _is_partition(parts, len(by))
    assert by[parts["train"]].max() < by[parts["valid"]].min()
    assert by[parts["valid"]].max() < by[parts["test"]].min()
    assert len(parts["test"]) == round(len(by) * test)


@QUICK
@given(times=st.lists(st.integers(0, 12), min_size=60, max_size=90))
def test_rows_of_one_time_are_never_parted(times: list[int]):
    by = np.array(times)
    try:
        parts = make_split(SplitPlan("time", "t"), len(by), None, by)
    except TaskError:  # too few different times
        return
    held = [set(by[rows]) for rows in parts.values()]
    assert sum(map(len, held)) == len(set.union(*held))


@pytest.mark.parametrize("kind", ["random", "stratified", "labels", "grouped"])
def test_the_seed_decides(kind: Any):
    by = np.arange(200) // 2
    classes = np.stack([by % 2, by % 3 == 0], axis=1).astype(np.int64) if kind == "labels" else np.arange(200) % 2
    kind = "stratified" if kind == "labels" else kind

    def split(seed: int) -> Rows:
        plan = SplitPlan(kind, "g" if kind == "grouped" else None, seed=seed)
        return make_split(plan, 200, classes, by)

    assert all(np.array_equal(split(1)[name], split(1)[name]) for name in ("train", "valid", "test"))
    assert not np.array_equal(split(1)["test"], split(2)["test"])


def test_auto_is_stratified_where_there_are_classes():
    classes = np.array([0] * 90 + [1] * 10)
    for name in ("valid", "test"):
        assert (classes[make_split(SplitPlan(), 100, classes, None)[name]] == 1).sum() == 2
    assert len(make_split(SplitPlan(), 10, None, None)["train"]) == 6


def test_declared_splits_are_taken_as_they_are():
    by = np.array(["train", "test", "valid", "train"])
    parts = make_split(SplitPlan("declared", "s"), 4, None, by)
    assert {name: rows.tolist() for name, rows in parts.items()} == {"train": [0, 3], "valid": [2], "test": [1]}
    with pytest.raises(TaskError, match="the split column holds 'dev'; allowed: train, valid, test"):
        make_split(SplitPlan("declared", "s"), 4, None, np.array(["train", "dev", "valid", "test"]))
    with pytest.raises(TaskError, match="the split column has no row 'test'"):
        make_split(SplitPlan("declared", "s"), 2, None, np.array(["train", "valid"]))


def test_what_cannot_be_split_is_refused():
    with pytest.raises(TaskError, match=r"class odd has 1 example; a stratified split needs at least 3"):
        make_split(SplitPlan(), 7, np.array(["a"] * 6 + ["odd"]), None)
    with pytest.raises(TaskError, match=r"split 'train' is empty: 2 rows are too few"):
        make_split(SplitPlan(), 2, None, None)
    with pytest.raises(TaskError, match="all rows have the same time"):
        make_split(SplitPlan("time", "t"), 9, None, np.zeros(9))
    with pytest.raises(SpecError, match="'stratified' needs classes; use 'random'"):
        make_split(SplitPlan("stratified"), 9, None, None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "stratifed",
            r"task.split.kind: 'stratifed' is unknown \(did you mean 'stratified'\?\); choices: auto, random",
        ),
        (3, r"task.split: 3 is neither a kind \(auto, "),
        (None, "task.split: None is neither a kind"),
        ({"kind": ["time"]}, r"task.split.kind: \['time'\] is unknown"),
        ({"knd": "time"}, r"task.split.knd: is unknown \(did you mean 'kind'\?\); allowed: kind, by, valid, test"),
        ({"kind": "time"}, "task.split.by: is needed with kind 'time'"),
        ({"kind": "random", "by": "a"}, "task.split.by: is not used with kind 'random'"),
        ({"kind": "grouped", "by": 3}, "task.split.by: 3 is not a column's name"),
        ({"valid": 0}, "task.split.valid: 0 is not a share between 0 and 1"),
        ({"test": float("nan")}, "task.split.test: nan is not a share"),
        ({"test": True}, "task.split.test: True is not a share"),
        ({"valid": "half"}, "task.split.valid: 'half' is not a share"),
        ({"valid": 0.5, "test": 0.5}, "task.split: valid 0.5 and test 0.5 leave no rows to train on"),
        ({"seed": -1}, "task.split.seed: -1 is not a whole number of at least 0"),
        ({"seed": 1.5}, "task.split.seed: 1.5 is not a whole number"),
        ({"folds": 1}, "task.split.folds: 1 is not a whole number of at least 2"),
        ({"folds": True}, "task.split.folds: True is not a whole number"),
        ({"folds": "five"}, "task.split.folds: 'five' is not a whole number"),
        ({"folds": 5, "valid": 0.2}, "task.split.valid: 0.2 is not used with folds: each is validated on in turn"),
        ({"folds": 5, "kind": "declared", "by": "s"}, "task.split.folds: 5 folds are not possible where a column"),
        ({"folds": 5, "kind": "time", "by": "day"}, "task.split.folds: 5 folds are not possible with kind 'time': of"),
    ],
)
def test_a_plan_that_is_none_is_refused(value: object, message: str):
    with pytest.raises(SpecError, match=f"^{message}"):
        SplitPlan.parse(value)


def test_a_plan_is_a_kind_or_a_mapping():
    assert SplitPlan.parse("random") == SplitPlan("random")
    assert SplitPlan.parse({"kind": "time", "by": "day", "test": 0.1}) == SplitPlan("time", "day", test=0.1)


def _split(plan: SplitPlan, classes: Any, by: Any, with_test: bool = True) -> tuple[Rows, list[set[int]]]:
    """The splits, and the rows of each fold."""
    n = len(classes if classes is not None else by)
    rows_of = make_split(plan, n, classes, by, with_test)
    folds = make_folds(plan, rows_of, classes, by)
    assert folds is not None
    both = np.concatenate([rows_of["train"], rows_of["valid"]])
    return rows_of, [set(both[folds == fold].tolist()) for fold in range(folds.max() + 1)]


@QUICK
@given(classes=st.lists(st.integers(0, 2), min_size=60, max_size=150), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_every_class_is_dealt_evenly_to_the_folds(classes: list[int], folds: int, seed: int):
    of_row = np.array([*classes, *[0, 1, 2] * 8])
    rows_of, held = _split(SplitPlan(folds=folds, seed=seed), of_row, None)
    assert np.array_equal(rows_of["test"], make_split(SplitPlan(seed=seed), len(of_row), of_row, None)["test"])
    assert len(held) == folds
    assert held[0] == set(rows_of["valid"].tolist())
    assert sum(map(len, held)) == len(set.union(*held)) == len(of_row) - len(rows_of["test"])
    for value in range(3):
        counts = [int((of_row[list(rows)] == value).sum()) for rows in held]
        assert min(counts) >= 1
        assert max(counts[1:]) - min(counts[1:]) <= 1
        assert abs(counts[0] - np.mean(counts)) <= 1


@QUICK
@given(groups=st.lists(st.integers(0, 14), min_size=60, max_size=150), seed=st.integers(0, 99))
def test_a_group_is_in_one_fold_alone(groups: list[int], seed: int):
    by = np.array([*groups, *range(15)])
    _, held = _split(SplitPlan("grouped", "g", seed=seed, folds=4), None, by)
    values = [set(by[list(rows)]) for rows in held]
    assert sum(map(len, values)) == len(set.union(*values))
    assert all(values)


def test_labels_are_dealt_in_their_shares_and_the_seed_decides():
    labels = np.stack([np.arange(200) % 2, np.arange(200) % 10 == 0], axis=1).astype(np.int64)
    _, held = _split(SplitPlan(folds=5), labels, None)
    assert [int(labels[list(rows), 1].sum()) for rows in held] == pytest.approx([16 / 5] * 5, abs=1)
    for kind in ("random", "stratified"):
        plans = [SplitPlan(kind, seed=seed, folds=3) for seed in (1, 1, 2)]
        first, again, other = (_split(plan, np.arange(60) % 2, None, with_test=False)[1] for plan in plans)
        assert first == again
        assert first != other
        assert [len(rows) for rows in first] == [20, 20, 20]


def test_folds_are_told_and_without_them_there_is_nothing():
    assert make_folds(SplitPlan(), make_split(SplitPlan(), 10, None, None), None, None) is None
    assert described(np.array([1, 1, 2, 0])).startswith("folds of train and valid: 1, 2, 1 rows; ")


def test_more_folds_than_there_is_to_deal_are_refused():
    classes = np.array(["a"] * 40 + ["b"] * 5)
    with pytest.raises(SpecError, match=r"^task.split.folds: 5 is above the 4 rows of train and valid with class b"):
        _split(SplitPlan(folds=5), classes, None)
    with pytest.raises(SpecError, match=r"^task.split.folds: 6 is above the 5 groups of train and valid; at most 5$"):
        _split(SplitPlan("grouped", "g", folds=6), None, np.arange(60) % 6)
    with pytest.raises(SpecError, match=r"^task.split.folds: 9 is above the 8 parts"):
        _split(SplitPlan("random", folds=9), np.arange(10), None)
