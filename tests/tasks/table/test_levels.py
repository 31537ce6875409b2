"""Levels: what they are and not how a file writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.tasks.table.levels import as_text, codes_among, levels_among


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series(["b", " b", None, "True", "3.0", "b"], dtype="str"), ["b", "b", "", "true", "3", "b"]),
        (pd.Series([3.0, np.nan, -0.0, 0.25, np.inf]), ["3", "", "0", "0.25", "inf"]),
        (pd.Series([2, 1, 2]), ["2", "1", "2"]),
        (pd.Series([True, None, False], dtype="boolean"), ["true", "", "false"]),
        (pd.Series([1, None], dtype="Int64"), ["1", ""]),
        (pd.Series([2.0, None, 2.5], dtype="category"), ["2", "", "2.5"]),
        (pd.Series([1, True, 1.0, "True", None, "1"], dtype="object"), ["1", "true", "1", "true", "", "1"]),
        (pd.Series([], dtype="str"), []),
    ],
)
def test_values_become_levels_by_what_they_are(values: pd.Series[Any], expected: list[str]) -> None:
    assert as_text(values) == expected


def test_levels_are_called_as_training_wrote_them_most_often():
    assert levels_among(pd.Series(["TRUE", "True", "TRUE", "False", None, "no "], dtype="str")) == (
        "False",
        "no",
        "TRUE",
    )
    assert levels_among(pd.Series(["1.0", "2", "1", "1.0", "10"], dtype="str")) == ("1.0", "2", "10")
    assert levels_among(pd.Series(["0.5", "0.50", "1.5"], dtype="str")) == ("0.5", "1.5")
    assert levels_among(pd.Series(["1.1", "1.10", "1.1.2"], dtype="str")) == ("1.1", "1.10", "1.1.2")
    assert levels_among(pd.Series([True, False, None], dtype="object")) == ("false", "true")
    assert levels_among(pd.Series([2.0, 1.0, np.nan])) == ("1", "2")


@pytest.mark.parametrize(
    ("levels", "texts", "codes"),
    [
        (("true", "no"), ["true"], {"true": 1}),
        (("True", "False"), ["true", "false"], {"true": 1, "false": 2}),
        (("1.0", "2.0"), ["1", "3"], {"1": 1}),
        (("0.50", "1.5"), ["0.5", "1.50"], {"0.5": 1, "1.50": 2}),
        (("001", "010", "A01"), ["001", "10", "01", "A01", "A1"], {"001": 1, "10": 2, "01": 1, "A01": 3}),
        (("1", "01", "A"), ["1", "01", "001"], {"1": 1, "01": 2}),
        (("1.10", "A"), ["1.10", "1.1"], {"1.10": 1}),
        (("nan", "inf"), ["inf", "nan"], {"inf": 2, "nan": 1}),
        ((str(2**60), str(2**60 + 1)), [str(2**60 + 1), str(2**60 + 2)], {str(2**60 + 1): 2}),
    ],
)
def test_a_cell_is_the_level_that_it_means(levels: tuple[str, ...], texts: list[str], codes: dict[str, int]):
    assert codes_among(levels, texts)[0] == codes


def test_other_leading_zeros_are_named():
    assert codes_among(("001", "A"), ["1", "001"])[1] == {"1": "001"}
    assert codes_among(("1", "2"), ["01", "2.00"])[1] == {"01": "1"}


def test_cells_that_are_lists_are_levels_by_what_they_say():
    """A later parquet may hold them where training had texts."""
    values = pd.Series([[1, 2], np.array([1, 2]), None, {"a": 1}, True], dtype=object)
    assert as_text(values) == ["[1, 2]", "[1 2]", "", "{'a': 1}", "true"]
