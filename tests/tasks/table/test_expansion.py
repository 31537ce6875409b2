"""Compact inputs: a few numbers a column, of which the net's inputs are made again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from lab.tasks.table.columns import Column, fit_column
from lab.tasks.table.encoding import Form, Notes, encode, features
from lab.tasks.table.expansion import Expansion

RANDOM = np.random.default_rng(0)
N = 300


def _frame() -> pd.DataFrame:
    gaps = RANDOM.lognormal(0, 3, N)
    gaps[::7] = np.nan
    return pd.DataFrame(
        {
            "plain": RANDOM.normal(1e5, 3, N),
            "letter": RANDOM.choice(list("xyz"), N),
            "gaps": gaps,
            "steps": RANDOM.integers(0, 3, N),
            "day": pd.date_range("2020-01-01", periods=N, freq="31h").astype(str),
            "tail": np.where(RANDOM.random(N) < 0.9, 0.0, RANDOM.exponential(5, N)),
        }
    )


def _columns(frame: pd.DataFrame, bins: int) -> tuple[Column, ...]:
    kinds = {"letter": "category", "day": "date"}
    return tuple(fit_column(frame[name], kinds.get(name, "number"), bins) for name in frame.columns)  # type: ignore[arg-type]


def _later(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that no training row is like."""
    freak = pd.DataFrame({"plain": [1e308, -1e308, np.inf, np.nan], "gaps": [np.nan, -5.0, 1e9, 0.0]})
    return pd.concat([frame, freak.assign(letter=[None, "q", "x", "y"], day=[None, "1999-01-01", "x", "2030-01-01"])])


@pytest.mark.parametrize("bins", [0, 1, 2, 16])
def test_what_is_made_of_compact_inputs_is_what_the_net_is_given_otherwise(bins: int):
    frame = _frame()
    columns, later = _columns(frame, bins), _later(frame).reset_index(drop=True)
    wide = encode(Form(columns), later, Notes())
    compact = torch.from_numpy(encode(Form(columns, compact=True), later, Notes()))
    made = Expansion(columns, torch.device("cpu"))(compact)
    np.testing.assert_allclose(made.numpy(), wide, atol=2e-6, rtol=0)
    assert made.shape == (len(later), Form(columns).width)


def test_slots_and_batches_are_made_as_single_rows_are():
    frame = _frame()
    columns = _columns(frame, 16)
    compact = torch.from_numpy(encode(Form(columns, compact=True), frame, Notes()))
    expansion = Expansion(columns, torch.device("cpu"))
    stacked = expansion(compact.view(3, 100, -1))
    assert torch.equal(stacked.flatten(0, 1), expansion(compact))
    assert torch.equal(expansion(compact[:1]), expansion(compact)[:1])


def test_trees_take_the_same_of_both_forms():
    frame = _frame()
    columns, later = _columns(frame, 16), _later(frame)
    both = [features(form, encode(form, later, Notes())) for form in (Form(columns), Form(columns, compact=True))]
    assert np.isnan(both[0]).any()
    np.testing.assert_array_equal(*both)


def test_compact_inputs_are_a_fraction_of_all():
    columns = _columns(_frame(), 16)
    assert 3 * Form(columns, compact=True).width < Form(columns).width
