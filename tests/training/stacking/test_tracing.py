"""A forward as graphs of training and of evaluation, and what each node gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.tracing import parameter_uses, results, trace


class Modes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        return self.one(x) if self.training else self.two(x)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_training_and_evaluation_are_one_graph_where_they_do_not_differ():
    plain = trace(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)))
    assert plain.training is plain.evaluation
    module = Modes().eval()
    modes = trace(module)
    assert modes.training is not modes.evaluation
    assert not module.training, "the module keeps its mode"


def test_uses_of_parameters_are_counted():
    module = Modes()
    uses = parameter_uses(trace(module).training)
    assert (uses[id(module.one.weight)], uses[id(module.two.weight)]) == (2, 0)


def test_a_forward_that_data_steer_is_refused_with_the_reason():
    with pytest.raises(NotStackable, match=r"torch\.fx cannot trace it \(TraceError"):
        trace(Branches())


def test_results_are_those_of_evaluation_and_leave_no_trace():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.9))
    traced, x = trace(module).training, torch.randn(4, 3)
    before, state = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    values = results(traced, x)
    assert torch.equal(values["output"], module.eval()(x))
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_examples_that_do_not_fit_are_named():
    with pytest.raises(NotStackable, match="it does not run on its examples"):
        results(trace(nn.Linear(3, 2)).training, torch.randn(4, 5))


def test_a_forward_by_a_function_of_the_package():
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x)

    assert "relu" in trace(Net()).training.code
