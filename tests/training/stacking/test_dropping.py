"""Stacked dropout: the rate of each slot, whole channels where the layer drops them, nothing in evaluation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.stacking.dropping import CALLS, call_rates
from lab.training.stacking.model import StackedModels
from lab.training.stacking.tracing import trace
from tests.training.stacking.alike import CPU, Calls

RATES = (0.0, 0.5, 0.9)


def dropped(build: Callable[[float], nn.Module], x: Tensor, training: bool = True) -> Tensor:
    """Outputs [k, b, ...] for inputs of ones, with each slot's own rate."""
    stacked = StackedModels(build(0.3), len(RATES), x, CPU)
    for slot, rate in enumerate(RATES):
        stacked.load(slot, build(rate), seed=slot)
    stacked.training = training
    with torch.no_grad():
        return stacked.forward(x.expand(len(RATES), *x.shape), range(len(RATES)))


@pytest.mark.parametrize(
    "build", [lambda rate: nn.Sequential(nn.Dropout(rate)), lambda rate: Calls(lambda x: F.dropout(x, rate))]
)
def test_each_slot_has_its_rate_and_keeps_the_mean(build: Callable[[float], nn.Module]):
    out = dropped(build, torch.ones(400, 50))
    for slot, rate in enumerate(RATES):
        assert float((out[slot] == 0).double().mean()) == pytest.approx(rate, abs=0.02)
        assert float(out[slot].mean()) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(
    "build", [lambda rate: nn.Sequential(nn.Dropout2d(rate)), lambda rate: Calls(lambda x: F.dropout2d(x, rate))]
)
def test_whole_channels_are_dropped(build: Callable[[float], nn.Module]):
    out = dropped(build, torch.ones(50, 20, 3, 3))
    channels = out.flatten(3)
    assert torch.equal(channels.amin(3), channels.amax(3)), "a channel is kept or dropped as one"
    for slot, rate in enumerate(RATES):
        assert float((channels[slot, ..., 0] == 0).double().mean()) == pytest.approx(rate, abs=0.06)


def test_nothing_is_dropped_in_evaluation():
    x = torch.rand(5, 4)
    out = dropped(lambda rate: nn.Sequential(nn.Dropout(rate), nn.Identity()), x, training=False)
    assert torch.equal(out, x.expand(len(RATES), *x.shape))


def test_the_rates_of_functions_are_read_from_the_forward():
    traced = trace(Calls(lambda x: F.dropout(F.dropout2d(x, p=0.25), 0.75, True))).training
    assert sorted(call_rates(traced).values()) == [0.25, 0.75]
    assert {F.dropout: False, F.dropout2d: True}.items() <= CALLS.items()
