"""Held columns: what stands in a file, in fewer bytes than its text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lab.tasks.table import frame, held
from lab.tasks.table.frame import read_table
from lab.tasks.table.held import Growing, Held
from lab.tasks.table.values import is_text, typed

TEXTS = [f"{n}.5" for n in range(40)]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and limits that few rows reach."""
    monkeypatch.setattr(frame, "_CELLS", 1)
    monkeypatch.setattr(frame, "_LEAST_ROWS", 10)
    monkeypatch.setattr(held, "MOST_TEXTS", 15)


def _read(folder: Path, cells: list[str], name: str = "a") -> pd.Series:
    (folder / "t.csv").write_text(f"{name},b\n" + "".join(f"{cell},x\n" for cell in cells))
    return read_table(folder / "t.csv")[name]


@pytest.mark.parametrize(
    "cells",
    [
        ["007", "7", "+7", "7.0", "x"] * 8,
        TEXTS[:15] * 2,
        [f"text {n}" for n in range(40)],
        [f"0{n}" for n in range(40)],
        [*TEXTS, "none at all"],
        ["none at all", *TEXTS],
        [f"0{n}.5" for n in range(40)],
    ],
)
def test_texts_are_held_as_they_are_written_where_they_are_few_or_no_numbers(cells: list[str], tmp_path: Path):
    column = _read(tmp_path, cells)
    assert is_text(column)
    assert column.tolist() == cells


@pytest.mark.parametrize("gap", ["", "NA"])
def test_many_different_numbers_are_held_as_numbers(gap: str, tmp_path: Path):
    cells = [gap] * 12 + TEXTS + [gap] * 12
    column = _read(tmp_path, cells)
    assert column.dtype == np.float64
    np.testing.assert_array_equal(column, [np.nan] * 12 + [float(text) for text in TEXTS] + [np.nan] * 12)
    assert _read(tmp_path, [str(n) for n in range(40)]).dtype == np.int64


def test_gaps_among_texts_stay_gaps_in_every_part(tmp_path: Path):
    cells = [""] * 25 + ["p", "q"] * 5 + [""] * 5 + [f"text {n}" for n in range(30)]
    column = _read(tmp_path, cells)
    assert column.isna().tolist() == [cell == "" for cell in cells]
    assert column.fillna("").tolist() == cells


def test_a_column_is_held_in_a_byte_a_row_where_its_texts_are_few():
    growing = Growing()
    for _ in range(10):
        growing.add(pd.Series(["a long text", "another long text", None] * 100, dtype="str"))
    table = Held({"c": growing.done()})
    assert table.nbytes < 3_000 + 200
    assert table["c"].isna().sum() == 1_000


def test_other_rows_are_the_same_columns_and_keep_their_place_in_the_file(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{n},{n % 3}\n" for n in range(40)))
    table = read_table(tmp_path / "t.csv")
    some = table.take(np.array([30, 5, 7])).take(np.array([2, 0]))
    assert some.frame().to_dict("index") == {7: {"a": 7, "b": "1"}, 30: {"a": 30, "b": "0"}}
    assert some._columns["a"] is table._columns["a"]
    other = some.replace("b", pd.Series([True, False]))
    assert other["b"].tolist() == [True, False]
    assert some["b"].tolist() == ["1", "0"]
    assert other.choose(["b"]).columns == ["b"]


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "2", "", "3"],
        ["1", "2.50", "3", "3"],
        ["", "", "", "x"],
        ["1", "2", "007", "3"],
        [str(2**60), str(2**60 + 1), "1.5", ""],
        [str(2**60), str(2**60 + 1), "7", "x"],
    ],
)
def test_rows_are_typed_as_their_texts_alone_are(cells: list[str], tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{cell},x\n" for cell in cells))
    table = read_table(tmp_path / "t.csv")
    for rows in ([0, 1, 2, 3], [0, 1], [1, 0], [2], [3, 2, 2]):
        part = table.take(np.array(rows))
        pd.testing.assert_series_equal(part.typed("a"), typed(part["a"]), check_dtype=False)
