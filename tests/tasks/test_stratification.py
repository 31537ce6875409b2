"""Iterative stratification: rare labels in every split, sizes kept, against plain random splits."""

from __future__ import annotations

import numpy as np

from lab.tasks.stratification import iterative_stratification

SIZES = {"train": 60, "valid": 20, "test": 20}


def test_shares_of_labels_are_nearer_to_what_is_wanted_than_at_random():
    random = np.random.default_rng(0)
    for seed in range(20):
        labels = (random.random((100, 8)) < np.linspace(0.05, 0.5, 8)).astype(np.int64)
        found = iterative_stratification(labels, SIZES, seed)
        order = random.permutation(100)
        plain = {"train": order[:60], "valid": order[60:80], "test": order[80:]}
        off = [
            sum(abs(labels[rows[split]].mean(axis=0) - labels.mean(axis=0)).mean() for split in SIZES)
            for rows in (found, plain)
        ]
        assert off[0] < 0.7 * off[1]


def test_rows_without_labels_fill_the_sizes_up():
    labels = np.zeros((100, 2), dtype=np.int64)
    labels[:10, 0] = 1
    found = iterative_stratification(labels, SIZES, 0)
    assert {split: len(rows) for split, rows in found.items()} == SIZES
    assert {split: int(labels[rows, 0].sum()) for split, rows in found.items()} == {"train": 6, "valid": 2, "test": 2}


def test_labels_that_always_come_together_stay_in_their_shares():
    labels = np.repeat(np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]), 25, axis=0)
    found = iterative_stratification(labels, SIZES, 3)
    for split, size in SIZES.items():
        np.testing.assert_allclose(labels[found[split]].sum(axis=0), 0.5 * size, atol=1)


def test_a_split_that_wants_nothing_gets_nothing():
    labels = np.ones((10, 1), dtype=np.int64)
    found = iterative_stratification(labels, {"train": 8, "valid": 2, "test": 0}, 0)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 8, "valid": 2, "test": 0}
