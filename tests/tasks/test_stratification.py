"""Iterative stratification: rare labels in every split, sizes kept, against plain random splits."""

from __future__ import annotations

import numpy as np
import pytest

from lab.tasks import stratification
from lab.tasks.stratification import iterative_stratification

SIZES = {"train": 60, "valid": 20, "test": 20}


def test_shares_of_labels_are_nearer_to_what_is_wanted_than_at_random():
    random = np.random.default_rng(0)
    for seed in range(20):
        labels = (random.random((100, 8)) < np.linspace(0.05, 0.5, 8)).astype(np.int64)
        parts = iterative_stratification(labels, SIZES, seed)
        order = random.permutation(100)
        plain = {"train": order[:60], "valid": order[60:80], "test": order[80:]}
        off = [
            sum(abs(labels[rows[split]].mean(axis=0) - labels.mean(axis=0)).mean() for split in SIZES)
            for rows in (parts, plain)
        ]
        assert off[0] < 0.7 * off[1]


def test_rows_without_labels_fill_the_sizes_up():
    labels = np.zeros((100, 2), dtype=np.int64)
    labels[:10, 0] = 1
    parts = iterative_stratification(labels, SIZES, 0)
    assert {split: len(rows) for split, rows in parts.items()} == SIZES
    assert {split: int(labels[rows, 0].sum()) for split, rows in parts.items()} == {"train": 6, "valid": 2, "test": 2}


def test_labels_that_always_come_together_stay_in_their_shares():
    labels = np.repeat(np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]), 25, axis=0)
    parts = iterative_stratification(labels, SIZES, 3)
    for split, size in SIZES.items():
        np.testing.assert_allclose(labels[parts[split]].sum(axis=0), 0.5 * size, atol=1)


def test_a_split_that_wants_nothing_gets_nothing():
    labels = np.ones((10, 1), dtype=np.int64)
    parts = iterative_stratification(labels, {"train": 8, "valid": 2, "test": 0}, 0)
    assert {split: len(rows) for split, rows in parts.items()} == {"train": 8, "valid": 2, "test": 0}


@pytest.mark.parametrize(
    ("n", "shares", "valid", "test", "seed"),
    [
        (202, [0.69, 0.25, 0.5, 0.72], 0.3, 0.3, 3),
        (287, [0.87, 0.79, 0.53, 0.5, 0.6, 0.12], 0.38, 0.09, 0),
        (186, [0.64, 0.27, 0.56, 0.86, 0.67], 0.25, 0.3, 3),
        (286, [0.46, 0.86, 0.76], 0.13, 0.16, 5),
    ],
)
def test_no_label_ends_far_from_its_share(n: int, shares: list[float], valid: float, test: float, seed: int):
    """Commonest labels are dealt out last, when the splits want few rows still."""
    for more in range(60):
        labels = (np.random.default_rng(seed + more).random((n, len(shares))) < shares).astype(np.int64)
        sizes = {"train": n - round(valid * n) - round(test * n), "valid": round(valid * n), "test": round(test * n)}
        parts = iterative_stratification(labels, sizes, seed)
        assert sorted(np.concatenate([*parts.values()])) == [*range(n)]
        for split, size in sizes.items():
            off = labels[parts[split]].sum(axis=0) - size / n * labels.sum(axis=0)
            assert abs(off).max() <= len(shares) + 0.5
            assert abs(len(parts[split]) - size) <= 1 + len(shares)


def test_what_lies_within_its_bounds_is_left_as_it_was_dealt_out(monkeypatch: pytest.MonkeyPatch):
    labels = (np.random.default_rng(1).random((200, 6)) < np.linspace(0.05, 0.5, 6)).astype(np.int64)
    settled = iterative_stratification(labels, {"train": 120, "valid": 40, "test": 40}, 0)
    monkeypatch.setattr(stratification, "_settle", lambda *_: None)
    dealt = iterative_stratification(labels, {"train": 120, "valid": 40, "test": 40}, 0)
    assert all(np.array_equal(settled[split], dealt[split]) for split in settled)
