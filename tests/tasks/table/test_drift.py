"""Whether splits can be told apart, against rows that are made to differ, and against plain counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lab.tasks.table.describe import describe_data
from lab.tasks.table.drift import Drift, Telling, auc_of, drifts
from lab.tasks.table.options import TableOptions
from lab.tasks.table.table_data import TableData


def table_of(rows: int = 600, **columns: Any) -> pd.DataFrame:
    random = np.random.default_rng(6)
    of_rows = {
        "x": random.normal(size=rows),
        "kind": random.choice(["a", "b", "c"], rows),
        "y": random.normal(size=rows),
    }
    return pd.DataFrame(of_rows | columns)


def _data(tmp_path: Path, frame: pd.DataFrame, test: pd.DataFrame | None = None, **options: Any) -> TableData:
    frame.to_parquet(tmp_path / "table.parquet")
    if test is not None:
        test.to_parquet(tmp_path / "test.parquet")
        options["test_path"] = str(tmp_path / "test.parquet")
    return TableData(TableOptions(str(tmp_path / "table.parquet"), "y", **options))


def test_rows_of_one_kind_cannot_be_told_apart_not_even_by_names_that_occur_once(tmp_path: Path):
    # 0.9 * 600 different names: most of those in validation were not seen in training, which says nothing of a drift
    names = [f"n{i % 540}" for i in range(600)]
    valid, test = drifts(_data(tmp_path, table_of(name=names), types={"name": "category"}))
    assert (valid.other, test.other, valid.rows) == ("valid", "test", 480)
    for one in (valid, test):
        assert one.low < 0.5 < one.high
        assert one.columns == ()
        assert "cannot be told apart by a forest: AUC 0." in one.line


def test_what_differs_is_named_with_what_says_the_same(tmp_path: Path):
    late = table_of(400, x=np.random.default_rng(0).normal(3.0, size=400))
    frame, test = (part.assign(twin=-2 * part["x"]) for part in (table_of(), late))
    description = describe_data(_data(tmp_path, frame, test))
    assert description.drift[0]["low"] < 0.5
    drift = description.drift[1]
    assert drift["other"] == "test"
    assert drift["low"] > 0.9
    assert drift["columns"][0]["names"] == ("x", "twin")
    assert drift["columns"][0]["auc_lost"] == pytest.approx(drift["auc"] - 0.5, abs=0.1)  # nothing else tells
    line = next(
        line for line in description.warnings if line.startswith("training and test rows differ by 'x' with 'twin'")
    )
    assert line.endswith("; a model that is good on the ones may be worse on the others")
    assert any(fact.startswith("training and validation rows cannot be told apart") for fact in description.facts)


def test_the_date_by_which_rows_are_split_is_left_aside(tmp_path: Path):
    days = pd.date_range("2020-01-01", periods=600, freq="h")
    description = describe_data(_data(tmp_path, table_of(day=days), split={"kind": "time", "by": "day"}))
    assert {one["aside"] for one in description.drift} == {"day"}
    assert all(one["low"] < 0.5 for one in description.drift)
    assert any(
        "cannot be told apart by a forest without 'day', by which they are split" in f for f in description.facts
    )
    frame = table_of(day=days, x=np.sqrt(np.arange(600)))
    trending = describe_data(_data(tmp_path, frame, split={"kind": "time", "by": "day"}))
    assert not any("differ" in line for line in trending.warnings)  # it was asked for
    assert any("rows differ by 'x': a forest tells them apart even without 'day'" in f for f in trending.facts)


def test_what_says_the_group_tells_nothing_where_groups_are_kept_together(tmp_path: Path):
    shop = np.arange(600) % 60
    frame = table_of(shop=[f"s{i}" for i in shop], size=1.0 * (shop * 37 % 61))
    valid, _ = drifts(_data(tmp_path, frame, split={"kind": "grouped", "by": "shop"}))
    assert valid.auc < 0.7  # a forest that has seen rows of all shops knows each by its size: then it is 1
    assert not valid.differs


def test_few_rows_are_not_judged_and_missing_or_infinite_numbers_are(tmp_path: Path):
    assert drifts(_data(tmp_path, table_of(400))) == ()  # 80 to validate on
    x = np.where(np.arange(600) % 7 == 0, np.nan, np.where(np.arange(600) % 11 == 0, np.inf, 1e300))
    kind = [None if i % 5 == 0 else "a" if i % 3 else "b" for i in range(600)]
    assert [one.differs for one in drifts(_data(tmp_path, table_of(x=x, kind=kind)))] == [False, False]


def test_a_sentence_says_how_sure_it_is():
    tellings = (Telling(("a",), 0.1), Telling(("b", "c"), 0.05))
    assert Drift("valid", 9, 0.55, 0.52, 0.58, tellings).line == (
        "training and validation rows can hardly be told apart by a forest: AUC 0.55 (0.52 to 0.58), by 'a' and 'b' "
        "with 'c'"
    )
    assert Drift("test", 9, 0.93, 0.92, 0.94).line == (
        "training and test rows differ: a forest tells them apart with AUC 0.93 (0.92 to 0.94); a model that is good "
        "on the ones may be worse on the others"
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=4, max_size=40))
def test_the_area_is_that_of_scikit_learn(rows: list[tuple[int, bool]]):
    scores, positive = np.array([float(s) for s, _ in rows]), np.array([p for _, p in rows])
    if 0 < positive.sum() < len(positive):
        assert auc_of(scores, positive)[0] == pytest.approx(roc_auc_score(positive, scores))


def test_its_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    truth, held = 0.7602, 0  # of two normals one standard deviation apart: Phi(1 / sqrt 2)
    for _ in range(400):
        positive = np.arange(120) < 50
        auc, variance = auc_of(random.normal(size=120) + positive, positive)
        held += abs(auc - truth) < 1.96 * np.sqrt(variance)
    assert 0.92 < held / 400 < 0.98
