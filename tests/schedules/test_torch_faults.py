"""Where torch 2.13 (and fastai 2.8, by its formulas) goes wrong and `lab` differs on purpose: one test per fault.

What torch does is asserted for the version named, so that each difference is real; what `lab` does, always.
"""

from __future__ import annotations

from math import cos, pi

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, OneCycleLR

from lab.errors import SpecError
from lab.schedules import SGDR, Constant, OneCycle, Snapshot

from .torch_runs import TORCH_2_13, sgd, torch_one_cycle, walk


def test_OneCycleLR_divides_by_zero_where_the_rise_is_one_step() -> None:
    if TORCH_2_13:
        with pytest.raises(ZeroDivisionError):
            torch_one_cycle(10, max_lr=1.0, pct_start=0.1)
    lr = OneCycle.preset("torch", max_lr=1.0, pct_start=0.1).curves(None, 10).lr
    assert lr[[0, 1, 9]].tolist() == [1 / 25, 1.0, 1 / 2.5e5]


def test_OneCycleLR_starts_at_its_maximum_in_a_run_of_three_steps() -> None:
    if TORCH_2_13:
        assert torch_one_cycle(3, max_lr=1.0)[0][0] == pytest.approx(0.994, abs=1e-3)
    assert OneCycle.preset("torch", max_lr=1.0).curves(None, 3).lr.tolist() == [1 / 25, 1.0, 1 / 2.5e5]


def test_OneCycleLR_bounces_after_its_last_step() -> None:
    if TORCH_2_13:
        assert torch_one_cycle(10, max_lr=1.0)[0][10] == pytest.approx(0.05, abs=1e-3)
    schedule = OneCycle.preset("torch", max_lr=1.0)
    with pytest.raises(IndexError):
        schedule.curves([10], 10)
    optimizer = sgd()
    scheduler = schedule.to_torch(optimizer, 10)
    walk(optimizer, scheduler, 10)
    assert optimizer.param_groups[0]["lr"] == 1 / 2.5e5
    optimizer.step()
    with pytest.raises(IndexError, match="all 10 steps of the schedule are done"):
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 1 / 2.5e5


def test_OneCycleLR_takes_its_length_from_a_loaded_state() -> None:
    if TORCH_2_13:
        short, long = OneCycleLR(sgd(), max_lr=1.0, total_steps=100), OneCycleLR(sgd(), max_lr=1.0, total_steps=200)
        long.load_state_dict(short.state_dict())
        assert long.total_steps == 100
    mine = OneCycle(max_lr=1.0)
    state = mine.to_torch(sgd(), 100).state_dict()
    longer = mine.to_torch(sgd(), 200)
    with pytest.raises(SpecError, match=r"^state\.total: 100 is not this schedule's 200; .*extend\(total\)$"):
        longer.load_state_dict(state)
    assert longer.total == 200


def test_OneCycleLR_replaces_the_beta1_of_AdamW_unasked() -> None:
    def adamw() -> torch.optim.AdamW:
        return torch.optim.AdamW([torch.zeros(1, requires_grad=True)], betas=(0.8, 0.9))

    if TORCH_2_13:
        optimizer = adamw()
        OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
        assert optimizer.param_groups[0]["betas"] == (0.95, 0.9)
    optimizer = adamw()
    Constant(max_lr=1.0, momentum=0.7).to_torch(optimizer, 10)
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.9)  # the schedule says so
    optimizer = adamw()
    walk(optimizer, OneCycle(max_lr=1.0).to_torch(optimizer, 10, momentum=False), 10)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)


def test_CosineAnnealingWarmRestarts_set_to_a_restart_is_at_its_end() -> None:
    if TORCH_2_13:
        wrong = 0
        for first, growth in ((1, 3), (2, 3), (1, 10), (2, 10), (4, 10)):
            scheduler = CosineAnnealingWarmRestarts(sgd(), first, growth)
            start = 0
            for cycle in range(5):
                start += first * growth**cycle
                scheduler.step(start)
                wrong += scheduler.get_last_lr()[0] == 0.0
        assert wrong >= 5
    for first in range(1, 31):
        for growth in (2, 3, 4, 5, 7, 10):
            starts = np.cumsum([0, *(first * growth**cycle for cycle in range(5))])
            total = int(starts[-1]) + 1
            schedule = SGDR(max_lr=1.0, period=first, T_mul=growth, min_lr=0.0)
            assert schedule.curves(starts[1:-1], total).lr.tolist() == ([1.0] * 4)
            assert schedule.curves(starts[1:] - 1, total).lr.tolist() == [1.0 if s == 1 else 0.0 for s in starts[1:]]


def test_CosineAnnealingWarmRestarts_takes_whole_T_mult_only() -> None:
    if TORCH_2_13:
        with pytest.raises(ValueError, match="Expected integer T_mult >= 1"):
            CosineAnnealingWarmRestarts(sgd(), 10, 1.5)  # type: ignore[arg-type]
    assert SGDR(max_lr=1.0, period=10, T_mul=1.5).cycle_ends(47) == (9, 24, 46)
    assert SGDR(max_lr=1.0, period=10, T_mul=1.1).cycle_ends(46) == (9, 20, 32, 45)


def test_CosineAnnealingWarmRestarts_never_anneals_to_the_end_of_a_cycle() -> None:
    optimizer = sgd()
    lr, _ = walk(optimizer, CosineAnnealingWarmRestarts(optimizer, 10), 20)
    if TORCH_2_13:
        assert lr[9] > 0.02
    assert SGDR(max_lr=1.0, period=10, T_mul=1, min_lr=0.0).curves([9, 19], 20).lr.tolist() == [0.0, 0.0]


def test_fastai_never_applies_the_final_lr() -> None:
    p = (19 / 20 - 0.25) / 0.75  # fastai 2.8: batch / total, so 1 is never reached
    assert 1e-5 + (1 - 1e-5) * (1 + cos(pi * p)) / 2 == pytest.approx(0.011, abs=1e-3)
    assert OneCycle(max_lr=1.0).curves([19], 20).lr[0] == 1e-5


def test_fastai_fit_sgdr_has_no_equal_cycles() -> None:
    cycle_mult, cycles = 1, 5
    with pytest.raises(ZeroDivisionError):  # fastai 2.8's number of epochs
        _ = (cycle_mult**cycles - 1) // (cycle_mult - 1)
    equal = SGDR(max_lr=1.0, cycles=5, T_mul=1)
    assert equal.cycle_ends(1003) == Snapshot(max_lr=1.0, cycles=5).cycle_ends(1003)
    assert max(np.diff(equal.cycle_ends(1003))) - min(np.diff(equal.cycle_ends(1003))) <= 1


def fastai_sgdr(position: float, lengths: list[int]) -> float:
    """fastai 2.8's `combine_scheds` of cosines from 1 to 0 at a position in [0, 1): the phase by float32 shares."""
    edges = torch.cumsum(torch.tensor([0.0, *(length / sum(lengths) for length in lengths)]), 0)
    phase = int((position >= edges).nonzero().max())
    p = float((position - edges[phase]) / (edges[phase + 1] - edges[phase]))
    return (1 + cos(pi * p)) / 2


def test_fastai_fit_sgdr_restarts_at_zero() -> None:
    # Three cycles of 10, 20 and 40 steps: the third one's first step, 30, still belongs to the second.
    assert fastai_sgdr(30 / 70, [1, 2, 4]) < 1e-12
    assert SGDR(max_lr=1.0, cycles=3).curves([0, 10, 30], 70).lr.tolist() == [1.0, 1.0, 1.0]
    for cycles in range(2, 7):
        for total in (3 * (2**cycles - 1), 1000, 1500, 9999):
            schedule = SGDR(max_lr=1.0, cycles=cycles)
            restarts = [end + 1 for end in schedule.cycle_ends(total)[:-1]]
            assert schedule.curves(restarts, total).lr.tolist() == [1.0] * (cycles - 1)


def test_snapshot_cycles_are_equal_where_the_papers_are_cut() -> None:
    total, cycles = 1003, 5
    ceil = -(-total // cycles)
    assert total - 4 * ceil != ceil  # the last of the paper's cycles is cut before it is annealed
    ends = Snapshot(max_lr=1.0, cycles=cycles).cycle_ends(total)
    assert Snapshot(max_lr=1.0, cycles=cycles).curves(list(ends), total).lr.tolist() == [1e-5] * 5
