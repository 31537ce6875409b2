"""Cyclical learning rates and fast geometric ensembling against their equations and torch's."""

from __future__ import annotations

import numpy as np
import pytest
from torch.optim.lr_scheduler import CyclicLR

from lab.errors import SpecError
from lab.schedules import FGE, Cyclical

from .torch_runs import sgd, walk


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize("half", [1, 5, 20])
@pytest.mark.parametrize("by_length", [True, False])
def test_golden_against_torch_CyclicLR(mode: str, half: int, by_length: bool) -> None:
    total = 3 * 2 * half + 1
    optimizer = sgd()
    scheduler = CyclicLR(
        optimizer, 0.02, 0.3, step_size_up=half, mode=mode, gamma=0.99, base_momentum=0.8, max_momentum=0.9
    )
    lr, momentum = walk(optimizer, scheduler, total)
    length = {"step_size": half} if by_length else {"cycles": 3}
    mine = Cyclical(
        max_lr=0.3, min_lr=0.02, mode=mode, gamma=0.99, momentum_low=0.8, momentum_high=0.9, **length
    ).curves(None, total)
    np.testing.assert_allclose(mine.lr, lr, rtol=1e-10)
    np.testing.assert_allclose(mine.momentum, momentum, rtol=1e-10)


def test_peaks_and_lows_are_exact() -> None:
    schedule = Cyclical(max_lr=0.3, cycles=3, mode="triangular2")
    lr = schedule.curves(None, 61).lr
    assert schedule.cycle_ends(61) == (20, 40, 60)
    assert lr[[0, 20, 40, 60]].tolist() == [0.3 / 10] * 4
    assert lr[10] == 0.3
    assert lr[30] == pytest.approx(0.03 + 0.27 / 2)


def test_a_cut_last_cycle_still_ends_low() -> None:
    for total in range(3, 60):
        schedule = Cyclical(max_lr=1.0, step_size=5)
        assert schedule.curves(list(schedule.cycle_ends(total)), total).lr.max() == 0.1
        assert schedule.curves(None, total).lr.max() > 0.1


def test_fge_is_saved_at_its_lows() -> None:
    schedule = FGE(max_lr=0.05, min_lr=0.01, period=10)
    lr = schedule.curves(None, 31).lr
    assert schedule.cycle_ends(31) == (5, 15, 25)
    assert lr[[5, 15, 25]].tolist() == [0.01] * 3
    assert lr[[0, 10, 20, 30]].tolist() == [0.05] * 4
    for step in range(31):
        t = step % 10 / 10
        expected = (1 - 2 * t) * 0.05 + 2 * t * 0.01 if t <= 0.5 else (2 - 2 * t) * 0.01 + (2 * t - 1) * 0.05
        assert lr[step] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", [Cyclical, FGE])
def test_each_cycle_needs_two_steps(kind: type[Cyclical] | type[FGE]) -> None:
    kind(max_lr=1, cycles=3).curves(None, 7)
    with pytest.raises(
        SpecError, match=r"^schedule\.cycles: 6 steps are too few for 3 times up and down; at least 7 steps$"
    ):
        kind(max_lr=1, cycles=3).curves(None, 6)
