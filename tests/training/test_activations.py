"""What is recorded of layers, against numbers counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lab.schedules import Constant
from lab.spec.plan import Training
from lab.spec.trial import Trial
from lab.tasks.digits import Digits
from lab.training.activations import ActivationRecorder
from lab.training.alone import train_alone
from lab.training.stacking.layouts import NotStackable


class _Parts(nn.Module):
    """Parameters of its own beside a part that gives several things, and one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.lstm = nn.LSTM(2, 3, batch_first=True)
        self.twice = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.twice(self.twice(self.lstm(x)[0])) * self.scale
        return out


def test_numbers_are_those_of_each_layers_output():
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Dropout(0.5))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.zero_()
    recorder = ActivationRecorder(2)
    recorder.attach(net)
    for x in (torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)):
        net(x)
    net.eval()(torch.ones(5, 1))  # what validates is not looked at
    recorded = recorder.recorded
    assert [(layer.name, layer.kind) for layer in recorded.layers] == [("0", "Linear"), ("1", "ReLU")]
    assert recorded.steps == (0, 1)
    assert recorded.mean.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert recorded.std[0].tolist() == pytest.approx([5**0.5, 1.5**0.5])  # of 1, -1, 3, -3, and of 1, 0, 3, 0
    assert recorded.near_zero.tolist() == [[0.0, 0.5], [1.0, 1.0]]


def test_a_net_of_any_parts_is_recorded():
    net = _Parts()
    recorder = ActivationRecorder(1)
    recorder.attach(net)
    net(torch.randn(4, 5, 2))
    recorded = recorder.recorded
    assert [layer.name for layer in recorded.layers] == ["lstm", "twice", "_Parts"]
    assert torch.isfinite(recorded.std).all()


def test_of_a_long_training_some_steps_are_looked_at_and_parts_of_a_batch_are_one_step():
    net = nn.Sequential(nn.Linear(1, 1))
    recorder = ActivationRecorder(1000, parts=2)
    recorder.attach(net)
    for _ in range(12):
        net(torch.ones(1, 1))
    assert recorder.recorded.steps == (0, 3)
    empty = ActivationRecorder(5).recorded
    assert (empty.layers, empty.steps, empty.mean.shape) == ((), (), (0, 0))


def test_hooks_change_no_bit_of_what_is_trained():
    training = Training({"kind": "adamw"}, 64, path="sequential", threads=1)
    trial = Trial({"max_lr": 0.01, "dropout": 0.3}, 3, 1, own_schedule=Constant(max_lr=0.01))
    recorder = ActivationRecorder(20)
    trained: list[Any] = []
    for attach in (None, recorder.attach):
        model = train_alone(Digits(), training, trial, lambda result: None, attach).model
        assert model is not None
        trained.append(model.state_dict())
    assert len(recorder.recorded.steps) > 10
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name


def test_models_that_are_computed_together_cannot_be_looked_at():
    training = Training({"kind": "adamw"}, 64, path="stacked", threads=1)
    trial = Trial({"max_lr": 0.01}, 3, 1, own_schedule=Constant(max_lr=0.01))
    with pytest.raises(NotStackable, match="computed together"):
        train_alone(Digits(), training, trial, lambda result: None, ActivationRecorder(20).attach)
