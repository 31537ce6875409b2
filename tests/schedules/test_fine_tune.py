"""Fine-tuning in phases: fastai's curves, and which parameter groups train when."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lab.errors import SpecError
from lab.schedules import FineTune, OneCycle, Ramp, parse_schedule


def test_a_frozen_1cycle_comes_before_one_of_all_groups() -> None:
    """fastai's `fine_tune(4, base_lr)`: `fit_one_cycle(1, base_lr, pct_start=.99)`, then half the rate, div 5."""
    schedule = FineTune(max_lr=0.01)
    curves = schedule.curves(None, 50)
    head, every = OneCycle(max_lr=0.01, pct_start=0.99), OneCycle(max_lr=0.005, pct_start=0.3, div=5)
    for name in ("lr", "momentum"):
        expected = [getattr(phase.curves(None, steps), name) for phase, steps in ((head, 10), (every, 40))]
        np.testing.assert_array_equal(getattr(curves, name), np.concatenate(expected))
    factors = schedule.group_factors(3, None, 50)
    assert (factors[:10] == [0, 0, 1]).all()
    np.testing.assert_allclose(factors[10:], np.broadcast_to([0.01, 0.1, 1.0], (40, 3)))


def test_groups_are_unfrozen_one_after_another_from_the_last() -> None:
    factors = FineTune(max_lr=1, frozen=0.5, gradual=True, lr_divisor=2.6).group_factors(4, None, 12)
    assert (factors > 0).sum(axis=1).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    assert (np.diff((factors > 0).astype(int), axis=0) >= 0).all()
    np.testing.assert_allclose(factors[-1], [2.6**-3, 2.6**-2, 2.6**-1, 1.0])


@pytest.mark.parametrize("gradual", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 5])
@pytest.mark.parametrize("total", [2, 3, 7, 100])
def test_the_last_group_always_trains_and_all_do_in_the_end(gradual: bool, groups: int, total: int) -> None:
    factors = FineTune(max_lr=1, gradual=gradual).group_factors(groups, None, total)
    assert (factors[:, -1] == 1).all()
    assert (factors[-1] > 0).all()


def test_any_schedule_may_set_groups_apart() -> None:
    assert Ramp(lr_divisor=10).group_factors(2, [0, 5], 10).tolist() == [[0.1, 1.0]] * 2
    assert OneCycle(max_lr=1).group_factors(2, [3], 10).tolist() == [[1.0, 1.0]]


def test_torchs_groups_follow_the_phases() -> None:
    body, head = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [body]}, {"params": [head]}], lr=1.0)
    schedule = FineTune(max_lr=1, frozen=0.5)
    scheduler = schedule.to_torch(optimizer, 4)
    seen = []
    for _ in range(4):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    expected = schedule.curves(None, 4).lr[:, None] * schedule.group_factors(2, None, 4)
    np.testing.assert_allclose(seen, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frozen": 1.0}, r"^schedule\.frozen: 1\.0 is not between 0 and 1"),
        ({"frozen": 0}, r"^schedule\.frozen: 0\.0 is not between 0 and 1"),
        ({"lr_divisor": 0.5}, r"^schedule\.lr_divisor: 0\.5 is not at least 1"),
        ({"pct_start": 1}, r"^schedule\.pct_start: 1\.0 is not between 0 and 1"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_schedule({"kind": "fine_tune", "max_lr": 0.1, **values})


def test_a_run_needs_a_step_of_each_phase() -> None:
    with pytest.raises(SpecError, match=r"^schedule\.total: 1 steps are too few for a frozen phase and another"):
        FineTune(max_lr=0.1).curves(None, 1)
