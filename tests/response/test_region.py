"""Boxes of settings that are as good as the best, where the truth is a box."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab.response.encode import Encoding
from lab.response.region import SURE, region_of

Floats = NDArray[np.float64]

SPACE: dict[str, BaseDistribution] = {
    "max_lr": FloatDistribution(1e-4, 1, log=True),
    "dropout": FloatDistribution(0, 0.8),
    "cycles": IntDistribution(1, 4),
    "kind": CategoricalDistribution(("adamw", "sgd", "lamb")),
}
BEST = {"max_lr": 0.01, "dropout": 0.2, "cycles": 2, "kind": "sgd"}
ENCODING = Encoding(SPACE)


def _best(encoding: Encoding = ENCODING) -> Floats:
    return np.asarray(encoding.units([BEST])[0])


def _good(units: Floats) -> Floats:
    """max_lr of .001 to .1, at most 2 cycles, and not lamb; any dropout."""
    rate, cycles = (units[:, 0] >= 0.25) & (units[:, 0] <= 0.75), units[:, 2] <= 0.5
    return np.asarray((rate & cycles & (units[:, 3] < 2 / 3)).astype(np.float64))


def test_a_box_is_told_as_it_is():
    region = region_of(ENCODING, _good, _best(), 0.01, seed=0)
    assert region is not None
    sides = {side.name: side for side in region.sides}
    assert [sides[name].whole for name in SPACE] == [False, True, False, False]
    low, high = sides["max_lr"].values
    assert 1e-3 / 2 <= low <= 2e-3
    assert 0.05 <= high <= 0.2
    assert sides["cycles"].values == (1, 2)
    assert sides["kind"].values == ("adamw", "sgd")
    assert sides["kind"].between is False
    assert region.sure >= SURE[0] - 0.05
    assert region.share == pytest.approx(0.5 * 0.5 * 2 / 3, rel=0.25)
    assert (region.margin, region.best) == (0.01, pytest.approx(BEST))


def test_where_nothing_matters_it_is_the_whole_space():
    region = region_of(ENCODING, lambda units: np.full(len(units), 0.95), _best(), 0.1, seed=0)
    assert region is not None
    assert all(side.whole for side in region.sides)
    assert (region.share, region.sure) == (1.0, pytest.approx(0.95))
    assert region.sides[0].values == (pytest.approx(1e-4), pytest.approx(1.0))


def test_where_nothing_is_sure_there_is_none():
    assert region_of(ENCODING, lambda units: np.full(len(units), 0.5), _best(), 0.1, seed=0) is None


def test_a_lower_surety_is_said_where_no_higher_can_be_had():
    region = region_of(ENCODING, lambda units: 0.85 * _good(units), _best(), 0.1, seed=0)
    assert region is not None
    assert 0.75 <= region.sure <= 0.86


def test_the_best_setting_lies_in_it():
    """Also where its own slice is no better than others."""
    region = region_of(ENCODING, lambda units: (units[:, 0] > 0.6).astype(np.float64), _best(), 0.1, seed=0)
    assert region is None or region.sides[0].values[0] <= BEST["max_lr"] * (1 + 1e-9)


def test_what_a_setting_lacks_does_not_count():
    space: dict[str, BaseDistribution] = {
        "kind": CategoricalDistribution(("adamw", "sgd")),
        "momentum": FloatDistribution(0, 1),
    }
    encoding = Encoding(space, {"momentum": {"kind": ["sgd"]}})
    best = encoding.masked(encoding.units([{"kind": "adamw", "momentum": 0.5}]))[0]

    def good(units: Floats) -> Floats:
        return np.asarray(np.where(np.isnan(units[:, 1]), 1.0, units[:, 1] > 0.5).astype(np.float64))

    region = region_of(encoding, good, best, 0.1, seed=0)
    assert region is not None
    assert region.sides[0].values[0] == "adamw"
    assert region.best == {"kind": "adamw"}
    assert not math.isnan(region.sides[1].values[0])


def test_the_same_seed_says_the_same():
    first, second = (region_of(ENCODING, _good, _best(), 0.01, seed=3) for _ in range(2))
    assert first == second
