"""Quality on held-out trials: coverage as nominal, and no trial that helps to predict itself."""

from __future__ import annotations

import numpy as np
import pytest

from lab.response.quality import held_out


def test_intervals_cover_what_they_say_and_say_something():
    rng = np.random.default_rng(0)
    x = rng.random((400, 3))
    y = 3 * x[:, 0] + np.sin(5 * x[:, 1]) + 0.3 * rng.normal(size=400)
    quality = held_out(x, y, np.arange(400), seed=0)
    assert quality.r2 is not None
    assert quality.r2 > 0.8
    for coverage, level in zip(quality.coverage, (0.8, 0.95), strict=True):
        assert coverage.level == level
        assert coverage.share == pytest.approx(level, abs=0.05)
    assert quality.coverage[0].width < 2.56 / 2


def test_rows_of_one_trial_are_held_out_together():
    """Pure noise, repeated: a split by rows would predict each row from its twin."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 3)), rng.normal(size=60)
    trial = np.arange(60)
    twice = held_out(np.repeat(x, 2, axis=0), np.repeat(y, 2), np.repeat(trial, 2), seed=0)
    assert twice.r2 is not None
    assert twice.r2 < 0.1
    split = held_out(np.repeat(x, 2, axis=0), np.repeat(y, 2), np.arange(120), seed=0)
    assert split.r2 is not None
    assert split.r2 > 0.2


def test_only_what_is_asked_counts():
    rng = np.random.default_rng(0)
    x = rng.random((200, 2))
    y = np.where(np.arange(200) < 100, x[:, 0], rng.normal(size=200))
    easy = held_out(x, y, np.arange(200), seed=0, asked=np.arange(200) < 100)
    hard = held_out(x, y, np.arange(200), seed=0, asked=np.arange(200) >= 100)
    assert easy.r2 is not None
    assert hard.r2 is not None
    assert hard.r2 < 0.1


def test_a_target_that_does_not_vary_has_no_quality():
    quality = held_out(np.random.default_rng(0).random((10, 2)), np.ones(10), np.arange(10), seed=0)
    assert quality.r2 is None
    assert quality.coverage == ()
