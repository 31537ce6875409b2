"""Schedules in a user's own torch loop: the pure curve, resumed, accumulated, extended on purpose only."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from lab.errors import SpecError
from lab.schedules import KINDS, Constant, OneCycle, Schedule, Snapshot, discriminative

from .examples import CHECK, PLAIN, STRATEGIES
from .torch_runs import sgd, walk

each_kind = pytest.mark.parametrize("kind", list(KINDS))
each_optimizer = pytest.mark.parametrize("name", ["SGD", "AdamW"])


def make(name: str, parameters: Any) -> torch.optim.Optimizer:
    if name == "SGD":
        return torch.optim.SGD(parameters, lr=7.0, momentum=0.1)
    return torch.optim.AdamW(parameters, lr=7.0, betas=(0.1, 0.99))


@each_kind
@each_optimizer
def test_each_group_follows_the_pure_curve(kind: str, name: str) -> None:
    schedule, total = PLAIN[kind], 40
    weights = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizer = make(name, [{"params": [w]} for w in weights])
    scheduler = schedule.to_torch(optimizer, total)
    assert isinstance(scheduler, LRScheduler)
    factors = schedule.group_factors(len(weights), None, total)
    for lr, momentum, decay, own in zip(*schedule.curves(None, total), factors, strict=True):
        for group, factor in zip(optimizer.param_groups, own, strict=True):
            assert group["lr"] == lr * factor
            assert group["weight_decay"] == decay
            if name == "SGD":
                assert group["momentum"] == momentum
            else:
                assert group["betas"] == (momentum, 0.99)
        assert scheduler.get_last_lr() == [lr * factor for factor in own]
        optimizer.step()
        scheduler.step()


@each_kind
@settings(CHECK, max_examples=30)
@given(data=st.data(), total=st.integers(1, 10_000))
def test_a_state_resumes_at_any_step(kind: str, data: st.DataObject, total: int) -> None:
    schedule = data.draw(STRATEGIES[kind])
    try:
        curves = schedule.curves(None, total)
    except SpecError:
        assume(False)
    cut = data.draw(st.integers(0, total - 1))
    state = schedule.to_torch(sgd(), total).state_dict() | {"last_epoch": cut}
    stored = io.BytesIO()
    torch.save(state, stored)
    stored.seek(0)
    optimizer = sgd()
    scheduler = schedule.to_torch(optimizer, total)
    scheduler.load_state_dict(torch.load(stored, weights_only=True))
    steps = min(total - cut, 20)
    lr, momentum = walk(optimizer, scheduler, steps)
    np.testing.assert_array_equal(lr, curves.lr[cut : cut + steps])
    np.testing.assert_array_equal(momentum, curves.momentum[cut : cut + steps])


class Run:
    """A small training run that can be saved and continued; `accumulate` batches make an optimizer step."""

    def __init__(self, name: str, schedule: Schedule, total: int, accumulate: int = 1) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1).double()
        self.optimizer = make(name, self.model.parameters())
        self.scheduler = schedule.to_torch(self.optimizer, total)
        self.accumulate = accumulate
        self.lrs: list[float] = []

    def train(self, first: int, last: int) -> torch.Tensor:
        for step in range(first, last):
            for batch in range(self.accumulate):
                x = torch.sin(torch.arange(12, dtype=torch.float64).view(4, 3) + step * 7 + batch)
                (self.model(x).square().mean() / self.accumulate).backward()
            self.lrs.append(self.optimizer.param_groups[0]["lr"])
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
        return self.model.weight.detach().clone()

    def save(self) -> bytes:
        file = io.BytesIO()
        parts = (self.model, self.optimizer, self.scheduler)
        torch.save([part.state_dict() for part in parts], file)
        return file.getvalue()

    def load(self, content: bytes) -> None:
        parts = (self.model, self.optimizer, self.scheduler)
        for part, state in zip(parts, torch.load(io.BytesIO(content), weights_only=True), strict=True):
            part.load_state_dict(state)


@each_optimizer
@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("kind", ["one_cycle", "snapshot", "cyclical", "join", "warmup"])
def test_an_interrupted_run_ends_with_the_same_weights(kind: str, name: str, accumulate: int) -> None:
    total = 30
    straight = Run(name, PLAIN[kind], total, accumulate)
    expected = straight.train(0, total)
    np.testing.assert_array_equal(straight.lrs, PLAIN[kind].curves(None, total).lr)
    for cut in (0, 1, 13, 29, 30):
        first = Run(name, PLAIN[kind], total, accumulate)
        first.train(0, cut)
        second = Run(name, PLAIN[kind], total, accumulate)
        second.load(first.save())
        assert torch.equal(second.train(cut, total), expected)


def test_gradient_accumulation_counts_optimizer_steps() -> None:
    run = Run("AdamW", OneCycle(max_lr=0.1), 10, accumulate=8)
    run.train(0, 10)
    np.testing.assert_array_equal(run.lrs, OneCycle(max_lr=0.1).curves(None, 10).lr)


def test_a_longer_run_is_made_on_purpose_only() -> None:
    schedule = Snapshot(max_lr=1.0, cycles=2)
    optimizer = sgd()
    scheduler = schedule.to_torch(optimizer, 100)
    walk(optimizer, scheduler, 100)
    state = scheduler.state_dict()
    with pytest.raises(SpecError, match=r"^schedule\.total: 100 is not above the present 100$"):
        scheduler.extend(100)
    scheduler.extend(200)
    assert optimizer.param_groups[0]["lr"] == schedule.curves([100], 200).lr[0]
    rest, _ = walk(optimizer, scheduler, 100)
    np.testing.assert_array_equal(rest, schedule.curves(range(100, 200), 200).lr)
    with pytest.raises(SpecError, match=r"^state\.total: 100 is not this schedule's 200"):
        scheduler.load_state_dict(state)


def test_a_state_of_another_schedule_is_refused() -> None:
    state = OneCycle(max_lr=1.0).to_torch(sgd(), 100).state_dict()
    with pytest.raises(SpecError, match=r"^state\.schedule: "):
        OneCycle(max_lr=2.0).to_torch(sgd(), 100).load_state_dict(state)
    with pytest.raises(SpecError, match=r"^state\.total: is missing: this is not the state of a schedule$"):
        OneCycle(max_lr=1.0).to_torch(sgd(), 100).load_state_dict({"last_epoch": 3})
    for step in (-1, 101, None, 1.5):
        with pytest.raises(SpecError, match=r"^state\.last_epoch: "):
            OneCycle(max_lr=1.0).to_torch(sgd(), 100).load_state_dict(state | {"last_epoch": step})


def test_groups_have_their_own_lrs_and_decay() -> None:
    optimizer = make("AdamW", [{"params": [nn.Parameter(torch.zeros(1))], "weight_decay": 0.0} for _ in range(3)])
    factors = discriminative(3)
    scheduler = OneCycle(max_lr=0.1).to_torch(optimizer, 101, factors=factors, decayed=[True, True, False])
    for _ in range(25):
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], 0.1 * np.array(factors))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.01, 0.0]
    again = OneCycle(max_lr=0.1).to_torch(optimizer, 101, factors=factors, decayed=[True, True, False])
    again.load_state_dict(scheduler.state_dict())
    assert again.get_last_lr() == scheduler.get_last_lr()


@each_optimizer
def test_a_group_added_later_follows_the_schedule_from_its_first_step(name: str) -> None:
    schedule = OneCycle(max_lr=0.1)
    optimizer = make(name, [nn.Parameter(torch.zeros(2))])
    scheduler = schedule.to_torch(optimizer, 10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    new = nn.Parameter(torch.zeros(1))
    optimizer.add_param_group({"params": [new], "lr": 7.0})
    for step in range(4, 10):
        optimizer.step()
        lr, momentum, decay = (float(values[0]) for values in schedule.curves([step], 10))
        for group in optimizer.param_groups:
            assert (group["lr"], group["weight_decay"]) == (lr, decay)
            assert (group["momentum"] if name == "SGD" else group["betas"][0]) == momentum
        assert scheduler.get_last_lr() == [lr, lr]
        scheduler.step()


def test_a_group_added_later_trains_no_step_at_a_rate_of_its_own() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=7.0)
    scheduler = Constant(max_lr=0.5, momentum=0.0, weight_decay=0.0).to_torch(optimizer, 10)
    new = nn.Parameter(torch.zeros(1))
    new.grad = torch.ones(1)
    optimizer.add_param_group({"params": [new], "lr": 7.0})
    optimizer.step()
    scheduler.step()
    assert new.item() == -0.5


@pytest.mark.parametrize(
    ("option", "values", "value"), [("factors", [0.5, 1.0], 0.25), ("decayed", [True, False], True)]
)
def test_a_group_that_factors_say_nothing_of_is_refused_until_they_do(option: str, values: Any, value: Any) -> None:
    schedule = OneCycle(max_lr=0.1)
    optimizer = make("SGD", [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)])
    scheduler: Any = schedule.to_torch(optimizer, 10, **{option: values})
    optimizer.step()
    scheduler.step()
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 7.0})
    message = f"^{option}: 2 values for 3 parameter groups; append one to this list for each new group$"
    for refused in (optimizer.step, scheduler.step, lambda: scheduler.extend(20)):
        with pytest.raises(SpecError, match=message):
            refused()
    getattr(scheduler, option).append(value)
    optimizer.step()
    lr = schedule.curves([1], 10).lr[0]
    assert optimizer.param_groups[2]["lr"] == (lr * value if option == "factors" else lr)
    scheduler.step()
    assert scheduler.last_epoch == 2


def test_a_schedule_that_another_has_followed_leaves_the_optimizer_alone() -> None:
    optimizer = make("SGD", [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)])
    first = Constant(max_lr=1).to_torch(optimizer, 5, factors=[0.5, 1.0])
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    second = Constant(max_lr=2).to_torch(optimizer, 5, factors=[0.1, 0.5, 1.0])
    optimizer.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 1.0, 2.0]
    assert second.get_last_lr() == [0.2, 1.0, 2.0]
    assert first.total == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": [1.0]}, "factors: 1 values for 2 parameter groups"),
        ({"factors": [1.0, "x"]}, r"factors\.1: 'x' is not a number"),
        ({"factors": [1.0, 0.0]}, r"factors: \[1\.0, 0\.0\] are not all above 0"),
        ({"decayed": [True]}, "decayed: 1 values for 2 parameter groups"),
        ({"decayed": [True, 1]}, r"decayed\.1: 1 is not true or false"),
    ],
)
def test_what_does_not_fit_the_groups_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}$"):
        Constant(max_lr=1).to_torch(sgd(groups=2), 10, **options)


def test_too_short_a_run_is_refused_at_once() -> None:
    with pytest.raises(SpecError, match=r"^schedule\.cycles: 5 cycles do not fit into 4 steps$"):
        Snapshot(max_lr=1).to_torch(sgd(), 4)


def test_a_step_cannot_be_set() -> None:
    with pytest.raises(TypeError, match="counts optimizer steps"):
        Constant(max_lr=1).to_torch(sgd(), 10).step(3)


def test_a_tensor_lr_stays_the_same_tensor() -> None:
    lr = torch.tensor(1.0, dtype=torch.float64)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = OneCycle(max_lr=0.1).to_torch(optimizer, 10)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == OneCycle(max_lr=0.1).curves([1], 10).lr[0]
    scheduler.load_state_dict(scheduler.state_dict() | {"last_epoch": 5})
    assert float(lr) == OneCycle(max_lr=0.1).curves([5], 10).lr[0]


def test_optimizers_without_momentum_or_decay_get_the_lr() -> None:
    optimizer = torch.optim.Adagrad([nn.Parameter(torch.zeros(1))], lr=1.0)
    OneCycle(max_lr=0.1).to_torch(optimizer, 10)
    assert optimizer.param_groups[0]["lr"] == 0.1 / 25
    assert "momentum" not in optimizer.param_groups[0]
