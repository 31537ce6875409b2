"""Two models have one architecture where layers, settings, shapes and forward agree, rates of dropout aside."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.stacking.structure import fingerprint, layer_rates, shapes, structure
from lab.training.stacking.tracing import trace


def net(units: int = 4, rate: float = 0.1, slope: float = 0.2) -> nn.Module:
    return nn.Sequential(nn.Linear(3, units), nn.LeakyReLU(slope), nn.Dropout(rate), nn.Linear(units, 2))


class Own(nn.Module):
    """Keeps what cannot be compared, and drops by a function."""

    def __init__(self, rate: float, twice: bool = False) -> None:
        super().__init__()
        self.layer, self.rate, self.twice, self.kept = nn.Linear(3, 3), rate, twice, object()

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.layer(x), self.rate, self.training)
        return x * 2 if self.twice else x


def same(one: nn.Module, other: nn.Module) -> bool:
    return structure(one, trace(one)) == structure(other, trace(other))


def test_a_rate_of_dropout_makes_no_other_architecture():
    assert fingerprint(net(rate=0.1)) == fingerprint(net(rate=0.7))
    assert layer_rates(net(rate=0.7)) == {"2": 0.7}
    assert same(Own(0.1), Own(0.6))


@pytest.mark.parametrize(
    "other", [lambda: net(units=5), lambda: net(slope=0.3), lambda: nn.Sequential(*net(), nn.ReLU())]
)
def test_anything_else_does(other: Callable[[], nn.Module]):
    assert fingerprint(net()) != fingerprint(other())
    assert not same(net(), other())


def test_shapes_and_dtypes_count():
    assert shapes(net()) == shapes(net(slope=0.9))
    assert shapes(net()) != shapes(net(units=5))
    frozen = net()
    frozen[0].weight.requires_grad_(False)  # type: ignore[index]
    assert fingerprint(frozen) != fingerprint(net())
    assert fingerprint(net().to(torch.float64)) != fingerprint(net())


def test_the_forward_tells_where_attributes_cannot_be_compared():
    assert fingerprint(Own(0.1)) != fingerprint(Own(0.1))
    assert same(Own(0.1), Own(0.1))
    assert not same(Own(0.1), Own(0.1, twice=True))
