"""Scores of shorter runs are told apart from final ones, and the forest is asked for final ones."""

from __future__ import annotations

import numpy as np

from lab.response.effects import sobol
from lab.response.forest import Forest
from lab.response.rungs import AtFull, rows_of


def test_where_nothing_was_cut_a_trial_is_a_row():
    rows = rows_of([{1: 0.5, 2: 0.6}, {1: 0.1, 2: 0.2}], [0.6, 0.2], [False, False])
    assert rows.target.tolist() == [0.6, 0.2]
    assert rows.fidelity is None
    features = np.eye(2)
    np.testing.assert_array_equal(rows.features(features), features)


def test_the_others_are_looked_at_where_trials_were_cut():
    curves = [{1: 0.5, 3: 0.6, 9: 0.9}, {1: 0.1, 3: 0.2}, {}]
    rows = rows_of(curves, [0.9, 0.2, 0.0], [False, True, False])
    assert rows.trial.tolist() == [0, 0, 1, 2]
    assert rows.target.tolist() == [0.6, 0.9, 0.2, 0.0]
    assert rows.last.tolist() == [False, True, True, True]
    assert rows.fidelity is not None
    np.testing.assert_allclose(rows.fidelity, [np.log(4) / np.log(10), 1, np.log(4) / np.log(10), 1])
    assert rows.features(np.arange(3.0)[:, None]).shape == (4, 2)


def test_a_cut_trial_is_not_taken_for_a_bad_one():
    """All settings are alike but x, and every other run was cut when it had come half as far."""
    x = sobol(128, 2, seed=0)
    cut = [bool(i % 2) for i in range(128)]
    curves = [{1: 0.5 * v} if short else {1: 0.5 * v, 9: v} for v, short in zip(x[:, 0], cut, strict=True)]
    rows = rows_of(curves, x[:, 0].tolist(), cut)
    forest = AtFull(Forest(seed=0).fit(rows.features(x), rows.target), rows)
    at = np.array([[0.9, 0.5], [0.1, 0.5]])
    np.testing.assert_allclose(forest.predict(at).mean, [0.9, 0.1], atol=0.15)
    assert forest.trees(at).shape == (100, 2)
