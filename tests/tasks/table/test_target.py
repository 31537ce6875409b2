"""Targets: classes, labels or values, told by the columns; what cannot be one is refused with its row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.errors import TaskError
from lab.tasks.table.target import Target, fit_target

RANDOM = np.random.default_rng(0)


def _frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("columns", "kind", "names"),
    [
        ({"a": ["x", "y"] * 10}, "classification", ("x", "y")),
        ({"a": [0, 1] * 10}, "classification", ("0", "1")),
        ({"a": [True, False] * 10}, "classification", ("false", "true")),
        ({"a": [1234567, 1234568] * 10}, "classification", ("1234567", "1234568")),
        ({"a": RANDOM.normal(size=20)}, "regression", ("a",)),
        ({"a": list(range(30))}, "regression", ("a",)),
        ({"a": [0, 1] * 10, "b": [1, 1, 0, 0] * 5}, "multilabel", ("a", "b")),
        ({"a": [True, False] * 10, "b": [1.0, 1.0, 0.0, 0.0] * 5}, "multilabel", ("a", "b")),
        ({"a": RANDOM.normal(size=20), "b": RANDOM.normal(size=20)}, "regression", ("a", "b")),
    ],
)
def test_the_columns_say_the_kind(columns: dict[str, Any], kind: str, names: tuple[str, ...]):
    target = fit_target(_frame(**columns), tuple(columns), None)
    assert (target.kind, target.class_names) == (kind, names)
    assert Target.load(json.loads(json.dumps(target.dump()))) == target


def test_columns_of_several_kinds_are_targets_of_their_own():
    columns = _frame(a=["x", "y"] * 10, b=np.arange(20.0) / 3, c=[1, 2] * 10)
    target = fit_target(columns, ("a", "b", "c"), None)
    assert [(part.kind, part.names) for part in target.parts] == [
        ("classification", ("a",)), ("regression", ("b",)), ("classification", ("c",)),
    ]  # fmt: skip
    assert target.numbers == ("b",)
    assert Target.load(json.loads(json.dumps(target.dump()))) == target
    assert target.values(columns.tail(1)).tolist() == [[1, np.float32(19 / 3), 1]]
    assert fit_target(columns, ("a", "b", "c"), None, {"c": "number"}).numbers == ("b", "c")
    assert fit_target(_frame(a=[0, 1] * 10, b=[1, 1, 0, 0] * 5), ("a", "b"), None, {"a": "category"}).parts


def test_the_user_may_say_what_numbers_are():
    grades = _frame(a=[1, 2, 3, 4] * 10)
    assert fit_target(grades, ("a",), None).kind == "classification"
    assert fit_target(grades, ("a",), "number").kind == "regression"
    assert fit_target(_frame(a=[0.5, 1.5] * 10), ("a",), "category").levels == ("0.5", "1.5")


def test_values_are_in_the_form_their_loss_takes():
    classes = fit_target(_frame(a=["x", "y"] * 10), ("a",), None)
    assert classes.values(_frame(a=["y", " x", "y"])).tolist() == [1, 0, 1]
    labels = fit_target(_frame(a=[0, 1] * 10, b=[1, 0] * 10), ("a", "b"), None).values(_frame(a=[1, 0], b=[1, 1]))
    assert (labels.dtype, labels.tolist()) == (np.float32, [[1, 1], [0, 1]])
    values = fit_target(_frame(a=np.arange(30.0)), ("a",), None).values(_frame(a=[2.5]))
    assert (values.dtype, values.tolist()) == (np.float32, [[2.5]])


def test_regression_knows_its_statistics_and_reaches_a_tenth_beyond_its_range():
    values = RANDOM.normal(3, 2, (50, 2))
    target = fit_target(_frame(a=values[:, 0], b=values[:, 1]), ("a", "b"), None)
    np.testing.assert_allclose(target.mean, values.mean(axis=0))
    np.testing.assert_allclose(target.std, values.std(axis=0))
    low, high = values.min(axis=0), values.max(axis=0)
    np.testing.assert_allclose(target.bounds, np.stack([low - 0.1 * (high - low), high + 0.1 * (high - low)], axis=1))


@pytest.mark.parametrize(
    ("columns", "asked", "message"),
    [
        ({"a": ["x"] * 9}, None, "target 'a': is constant (x); there is nothing to learn"),
        ({"a": ["x", None, "y", None]}, None, "target 'a': row 2 has none (2 rows in all); leave such rows out"),
        ({"a": [0.5, np.inf, 1.5]}, None, "target 'a': row 2 has one beyond 1e+15 (1 rows in all); leave such rows ou"),
        ({"a": [0.5, 1e300, 1.5]}, None, "target 'a': row 2 has one beyond 1e+15 (1 rows in all)"),
        ({"a": [f"c{i}" for i in range(20)]}, None, "target 'a': 20 classes in 20 training rows are more than half as"),
        ({"a": ["x"] * 9 + ["odd"]}, None, "target 'a': class 'odd' has one example; leave it out"),
        ({"a": [[1], [2]]}, None, "target 'a': holds lists or mappings; a target is one value in each row"),
        ({"a": ["x", "y"] * 5}, "number", "column 'a': row 1 holds 'x', which is no number"),
        (
            {"a": [f"c{i}" for i in range(20)], "b": RANDOM.normal(size=20)},
            None,
            "target 'a': 20 classes in 20 training rows are more than half as many; leave rare ones out",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(columns: dict[str, Any], asked: str | None, message: str):
    with pytest.raises(TaskError) as caught:
        fit_target(_frame(**columns), tuple(columns), asked)
    assert str(caught.value).startswith(message)


def test_rows_that_do_not_fit_what_was_learned_are_named():
    classes = fit_target(_frame(a=["x", "y"] * 10), ("a",), None)
    with pytest.raises(TaskError, match="target 'a': class 'q' is not in the training rows"):
        classes.values(_frame(a=["x", "q"]))
    labels = fit_target(_frame(a=[0, 1] * 10, b=[1, 0] * 10), ("a", "b"), None)
    with pytest.raises(TaskError, match="targets a, b: hold something else than 0 and 1"):
        labels.values(_frame(a=[0, 1], b=[2, 0]))
