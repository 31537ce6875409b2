"""SGDR and snapshot cycles: where they lie, and their equations."""

from __future__ import annotations

from math import cos, pi

import numpy as np
import pytest
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from lab.errors import SpecError
from lab.schedules import SGDR, Snapshot

from .torch_runs import sgd, walk


@pytest.mark.parametrize("period", [2, 10, 33])
def test_golden_against_torch_CosineAnnealingWarmRestarts(period: int) -> None:
    # torch's cycle of T_0 steps leaves out the last value; ours has it, as a step more.
    optimizer = sgd(lr=0.3)
    theirs, _ = walk(optimizer, CosineAnnealingWarmRestarts(optimizer, period - 1, eta_min=0.01), 3 * (period - 1))
    mine = SGDR(max_lr=0.3, min_lr=0.01, period=period, T_mul=1).curves(None, 3 * period).lr
    without_ends = np.delete(mine, [period - 1, 2 * period - 1, 3 * period - 1])
    np.testing.assert_allclose(without_ends, theirs, rtol=1e-12)


def test_sgdr_with_growing_cycles_and_falling_peaks() -> None:
    schedule = SGDR(max_lr=1.0, min_lr=0.2, period=10, T_mul=2, decay=0.5)
    lr = schedule.curves(None, 150).lr
    assert schedule.cycle_ends(150) == (9, 29, 69, 149)
    assert lr[[0, 10, 30, 70]].tolist() == [1.0, 0.5, 0.25, 0.2]
    assert lr[[9, 29, 69, 149]].tolist() == [0.2] * 4
    assert lr[15] == pytest.approx(0.2 + 0.3 * (1 + cos(pi * 5 / 19)) / 2)


@pytest.mark.parametrize(
    ("schedule", "total", "ends"),
    [
        (SGDR(max_lr=1, cycles=3), 70, (9, 29, 69)),
        (SGDR(max_lr=1, cycles=3), 7, (0, 2, 6)),
        (SGDR(max_lr=1, cycles=3, T_mul=0.5), 70, (39, 59, 69)),
        (SGDR(max_lr=1, cycles=4, T_mul=1), 10, (1, 4, 6, 9)),
        (SGDR(max_lr=1, period=10), 25, (9, 24)),
        (SGDR(max_lr=1, period=10), 30, (9, 29)),
        (SGDR(max_lr=1, period=10, T_mul=0.5), 17, (9, 14, 16)),
        (SGDR(max_lr=1, period=3, T_mul=1), 7, (2, 5, 6)),
        (SGDR(max_lr=1, period=10, T_mul=0.1), 11, (9, 10)),
        (Snapshot(max_lr=1, cycles=5), 5, (0, 1, 2, 3, 4)),
        (Snapshot(max_lr=1, cycles=3), 10, (2, 5, 9)),
    ],
)
def test_cycle_ends(schedule: SGDR | Snapshot, total: int, ends: tuple[int, ...]) -> None:
    assert schedule.cycle_ends(total) == ends
    annealed = [step for step in ends if step > 0]
    assert schedule.curves(annealed, total).lr.tolist() == [1e-5] * len(annealed)


@pytest.mark.parametrize("growth", [1.1, 1.3, 1.7, 2.6])
def test_boundaries_are_decimal_and_rounded_down_once(growth: float) -> None:
    tenths, lengths = round(growth * 10), []
    for k in range(1, 6):
        lengths.append(sum(7 * tenths**i * 10 ** (k - 1 - i) for i in range(k)) // 10 ** (k - 1))
    ends = SGDR(max_lr=1, period=7, T_mul=growth).cycle_ends(lengths[-1])
    assert ends == tuple(length - 1 for length in lengths)


@pytest.mark.parametrize("growth", [1.0001, 0.9999, 1.5, 50.0, 1e-300, 1e300])
def test_impossible_numbers_of_cycles_are_refused_at_once(growth: float) -> None:
    with pytest.raises(SpecError, match=r"^schedule\.cycles: 9999 cycles .* do not fit into 10000 steps$"):
        SGDR(max_lr=1, cycles=9999, T_mul=growth).curves(None, 10_000)


def test_cycles_that_shrink_away_are_refused() -> None:
    with pytest.raises(SpecError, match=r"^schedule\.T_mul: 0\.5 shrinks the cycles of 100 steps below one step"):
        SGDR(max_lr=1, period=10, T_mul=0.5).curves(None, 100)


@pytest.mark.parametrize("cycles", [1, 2, 5, 10])
def test_snapshot_is_equation_2_with_its_end_reached(cycles: int) -> None:
    length = 60
    lr = Snapshot(max_lr=0.1, min_lr=0.0, cycles=cycles, warmup=0).curves(None, cycles * length).lr
    for t in range(1, cycles * length + 1):
        mod = (t - 1) % length
        assert lr[t - 1] == pytest.approx(0.1 / 2 * (cos(pi * mod / (length - 1)) + 1), abs=1e-15)


def test_snapshot_warms_up_in_its_first_cycle_only() -> None:
    lr = Snapshot(max_lr=1.0, cycles=2, warmup=0.1).curves(None, 200).lr
    np.testing.assert_allclose(lr[:11], np.linspace(1 / 25, 1, 11))
    assert lr[100] == 1.0
    assert lr[99] == lr[199] == 1e-5
