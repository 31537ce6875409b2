"""What is counted of a model, against what its layers must come to by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.spec.limits import Limit
from lab.training import costs
from lab.training.costs import CostCounter, TooCostly, flops_of, parameters_of


def _attention(frozen: bool) -> tuple[nn.Module, Tensor, float]:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    for p in layer.parameters():
        p.requires_grad_(not frozen)
    of_matrices = 5 * 8 * (3 * 8 + 8 + 2 * 16)
    return layer, torch.zeros(1, 5, 8), 2.0 * (of_matrices + 2 * 5 * 5 * 8)


class _Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0][:, -1]


CASES = {
    "linear": (nn.Linear(3, 2), torch.zeros(1, 3), 2.0 * 3 * 2),
    "convolution": (nn.Conv2d(2, 4, 3, padding=1), torch.zeros(1, 2, 5, 5), 2.0 * 25 * 9 * 2 * 4),
    "norm": (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), torch.zeros(1, 3), 2.0 * 3 * 2),
    "lstm": (_Last(), torch.zeros(1, 5, 4), 2.0 * 5 * 4 * 6 * (4 + 6)),
    "attention": _attention(frozen=False),
    "frozen attention": _attention(frozen=True),
}


@pytest.mark.parametrize("name", CASES)
def test_flops_are_those_of_one_example(name: str):
    module, example, flops = CASES[name]
    assert flops_of(module, example) == flops


def test_counting_changes_nothing():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    module[2].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state, fast = torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    flops_of(module, torch.ones(1, 3))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert [layer.training for layer in module] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_frozen_and_shared_parameters_count_once():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    module[0].bias.requires_grad_(False)
    assert parameters_of(module) == 9 + 3 + 3


class _Repeated(nn.Module):
    def __init__(self, times: int, rate: float) -> None:
        super().__init__()
        self.layer, self.drop, self.times = nn.Linear(3, 3), nn.Dropout(rate), times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.drop(self.layer(x))
        return x


def test_each_architecture_is_counted_once(monkeypatch: pytest.MonkeyPatch):
    seen: list[nn.Module] = []

    def counting(module: nn.Module, example: Tensor) -> int:
        seen.append(module)
        return flops_of(module, example)

    monkeypatch.setattr(costs, "flops_of", counting)
    counter = CostCounter(torch.zeros(4, 3), flops=True)
    flops = [counter.of(_Repeated(times, rate))["flops"] for times, rate in ((1, 0.1), (1, 0.2), (3, 0.1), (1, 0.3))]
    assert flops == [18, 18, 54, 18]
    assert len(seen) == 2


def test_a_model_beyond_a_limit_is_refused_with_its_costs():
    counter = CostCounter(torch.zeros(4, 3), [Limit("parameters", 8), Limit("accuracy", 0.9, at_least=True)], True)
    assert counter.of(nn.Linear(3, 2))["parameters"] == 8
    with pytest.raises(TooCostly, match="parameters 12 is above 8") as over:
        counter.of(nn.Linear(3, 3))
    assert over.value.costs == {"parameters": 12, "flops": 18}


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("needs two\nexamples")


def test_flops_that_cannot_be_counted_are_said_where_they_are_asked_for():
    assert CostCounter(torch.zeros(4, 3)).of(_Odd()) == {"parameters": 8}
    with pytest.raises(TaskError, match="flops of one example cannot be counted: ValueError: needs two"):
        CostCounter(torch.zeros(4, 3), flops=True).of(_Odd())
