"""Codes and identifiers: known by how they are written, what they hold and what they are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lab.tasks.table.identifiers import called_identifier, identifies, padded_number, unnamed

SHUFFLED = np.random.default_rng(0).permutation(60)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["00501", "10001", "02139"], (2, "00501")),
        (["007.25", "100.50"], (1, "007.25")),
        (["0.5", "0", "-0.5", "10"], None),
        (["001", "A01"], None),
        (["1", None, "010"], (1, "010")),
        ([1, 10], None),
    ],
)
def test_leading_zeros_of_numbers_are_counted(values: list[Any], expected: tuple[int, str] | None):
    assert padded_number(pd.Series(values)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (SHUFFLED, True),
        (SHUFFLED * 17 + 100_000, True),
        (SHUFFLED.astype(float), True),
        (SHUFFLED.astype(str), True),
        (SHUFFLED // 2, False),
        (SHUFFLED + 0.5, False),
        (np.where(SHUFFLED == 3, np.nan, SHUFFLED), False),
        (SHUFFLED[:20], False),
        ([f"n{i}" for i in SHUFFLED], False),
    ],
)
def test_another_whole_number_in_every_row_tells_rows_apart(values: Any, expected: bool):
    assert identifies(pd.Series(values)) is expected


@pytest.mark.parametrize("name", ["", " ", "Unnamed: 0", "id", "ID", "customer_id", "PassengerId", "row", "row_number"])
def test_names_of_identifiers(name: str):
    assert called_identifier(name)
    assert unnamed(name) is (name in ("", " ", "Unnamed: 0"))


@pytest.mark.parametrize(
    "name", ["paid", "bid", "humid", "price", "rowing", "identity", "index_of_refraction", "solid"]
)
def test_other_names(name: str):
    assert not called_identifier(name)
