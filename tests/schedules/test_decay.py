"""Constant, flat-cosine, WSD, polynomial and step schedules, and the ramp, against their equations."""

from __future__ import annotations

from math import cos, pi, sqrt

import numpy as np
import pytest
from torch.optim.lr_scheduler import PolynomialLR

from lab.errors import SpecError
from lab.schedules import WSD, FlatCosine, Polynomial, Ramp, Step

from .torch_runs import sgd, walk


def test_flat_cosine_closed_form() -> None:
    lr = FlatCosine(max_lr=1.0, min_lr=0.0).curves(None, 101).lr
    assert (lr[:76] == 1.0).all()
    for step in range(75, 101):
        assert lr[step] == pytest.approx((1 + cos(pi * (step - 75) / 25)) / 2, abs=1e-15)


@pytest.mark.parametrize("shape", ["1-sqrt", "linear"])
def test_wsd_closed_form(shape: str) -> None:
    lr = WSD(max_lr=1.0, min_lr=0.0, warmup=0.1, cooldown=0.2, shape=shape).curves(None, 101).lr
    np.testing.assert_allclose(lr[:11], np.linspace(1 / 25, 1, 11))
    assert (lr[10:81] == 1.0).all()
    for step in range(80, 101):
        p = (step - 80) / 20
        assert lr[step] == pytest.approx(1 - sqrt(p) if shape == "1-sqrt" else 1 - p, abs=1e-15)


def test_wsd_needs_a_step_per_phase() -> None:
    with pytest.raises(SpecError, match=r"^schedule\.total: 2 steps are too few for the 3 phases of wsd; at least 3"):
        WSD(max_lr=1.0).curves(None, 2)
    assert WSD(max_lr=1.0).curves(None, 3).lr.tolist() == [1 / 25, 1.0, 1e-5]
    assert WSD(max_lr=1.0, warmup=0).curves(None, 2).lr.tolist() == [1.0, 1e-5]


@pytest.mark.parametrize("power", [0.9, 1.0, 2.0])
def test_golden_against_torch_PolynomialLR(power: float) -> None:
    optimizer = sgd(lr=0.3)
    theirs, _ = walk(optimizer, PolynomialLR(optimizer, total_iters=100, power=power), 101)
    mine = Polynomial(max_lr=0.3, min_lr=0.0, power=power).curves(None, 101).lr
    np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-15)


def test_step_falls_at_its_milestones() -> None:
    lr = Step(max_lr=0.1, milestones=(0.29, 0.5)).curves(None, 100).lr
    assert (lr[:29] == 0.1).all()
    assert (lr[29:50] == 0.1 * 0.1).all()
    assert (lr[50:] == 0.1 * 0.1**2).all()
    with pytest.raises(SpecError, match=r"^schedule\.milestones: 2 steps are too few for 2 distinct milestones$"):
        Step(max_lr=0.1).curves(None, 2)


def test_ramp_has_equal_ratios_or_equal_differences() -> None:
    exponential = Ramp().curves(None, 100).lr
    np.testing.assert_allclose(exponential[1:] / exponential[:-1], 1e8 ** (1 / 99))
    linear = Ramp(start=0.1, end=1.0, exponential=False).curves(None, 10).lr
    np.testing.assert_allclose(np.diff(linear), 0.1)
