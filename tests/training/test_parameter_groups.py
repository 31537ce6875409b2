"""Groups of parameters: rates set apart, frozen for a while, as PyTorch's own loop would train them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.schedules import FineTune, OneCycle, Schedule
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Trial
from lab.tasks.build import build_model
from lab.tasks.task import Data, Split, Task
from lab.training.noise import SlotNoise
from lab.training.parameter_groups import Segment, parameter_groups
from lab.training.snapshots import pack, unpack
from lab.training.trainer import ModelTrainer

BATCH, STEPS, EPOCHS, SEED = 8, 3, 4, 5


class Transfer(Task):
    """A body with batch norm and a head, in float64."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh())
        return nn.Sequential(body, nn.Linear(6, 2)).double()

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed({"train": 0, "valid": 1, "test": 2}[split])
        y = torch.arange(BATCH * STEPS) % 2
        return torch.randn(len(y), 4, generator=generator, dtype=torch.float64) + y[:, None], y

    def groups(self, model: nn.Module) -> Sequence[Sequence[str]]:
        names = [name for name, _ in model.named_parameters()]
        return [[n for n in names if n.startswith("0.0")], [n for n in names if n.startswith("0.1")], names[-2:]]


def _trainer(path: str = "sequential", **optimizer: Any) -> ModelTrainer:
    return ModelTrainer(Transfer(), Training({"kind": "adamw", **optimizer}, BATCH, path), 2, {})


def _assignment(schedule: Schedule) -> Assignment:
    return Assignment(0, Trial({}, SEED, EPOCHS, own_schedule=schedule), 1, 0)


def _plain(schedule: Schedule, optimizer: type[torch.optim.Optimizer], most: float | None, **options: Any) -> nn.Module:
    """The same training as a user would write it."""
    task, total = Transfer(), STEPS * EPOCHS
    model = build_model(task, {}, SEED)
    groups = [[dict(model.named_parameters())[name] for name in names] for names in task.groups(model)]
    stepped = optimizer([{"params": group} for group in groups], **options)
    scheduler = schedule.to_torch(stepped, total)
    noise, (x, y) = SlotNoise(SEED), task.data("train")
    for _ in range(EPOCHS):
        for rows in torch.split(noise.permutation(len(x)), BATCH):
            model.train()
            for group, settings in zip(groups, stepped.param_groups, strict=True):
                for parameter in group:
                    parameter.requires_grad_(settings["lr"] > 0)
            if stepped.param_groups[1]["lr"] == 0:
                model.get_submodule("0.1").eval()
            stepped.zero_grad()
            task.loss(model(x[rows]), y[rows]).mean().backward()
            if most is not None:
                nn.utils.clip_grad_norm_(model.parameters(), most)
            stepped.step()
            scheduler.step()
    return model


def _trained(trainer: ModelTrainer) -> dict[str, Tensor]:
    while trainer.epoch()[0].outcome is None:
        pass
    return {name.removeprefix("model/"): t for name, t in trainer.save(1)[0].items() if name.startswith("model/")}


@pytest.mark.parametrize("most", [None, 0.05])
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize(
    "schedule",
    [
        FineTune(max_lr=0.02, frozen=0.3),
        FineTune(max_lr=0.02, frozen=0.7, gradual=True, lr_divisor=2.6),
        OneCycle(max_lr=0.02, lr_divisor=3),
    ],
    ids=["frozen", "gradual", "apart"],
)
def test_a_model_is_fine_tuned_as_by_plain_pytorch(schedule: Schedule, kind: str, most: float | None):
    options: dict[str, Any] = {"max_grad_norm": most} if most else {}
    trainer = _trainer(**options, kind=kind, **({"eps": 1e-8} if kind == "adamw" else {"nesterov": True}))
    trainer.start(_assignment(schedule))
    ours = _trained(trainer)
    own: dict[str, Any] = (
        {"betas": (0.9, 0.99), "eps": 1e-8} if kind == "adamw" else {"momentum": 0.9, "nesterov": True}
    )
    theirs = _plain(schedule, torch.optim.AdamW if kind == "adamw" else torch.optim.SGD, most, lr=1.0, **own)
    expected = theirs.state_dict()
    assert ours.keys() == expected.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-8, atol=1e-8)


def test_rates_set_apart_are_stacked_as_they_are_alone():
    schedule = OneCycle(max_lr=0.02, lr_divisor=3)
    both = []
    for path in ("stacked", "sequential"):
        trainer = _trainer(path)
        trainer.start(_assignment(schedule))
        both.append(_trained(trainer))
    for name, tensor in both[0].items():
        if tensor.is_floating_point():  # batches are not counted where models are stacked
            torch.testing.assert_close(tensor, both[1][name], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_trial_goes_on_in_the_phase_where_it_was(cut: int):
    assignment = _assignment(FineTune(max_lr=0.02, frozen=0.5, gradual=True))
    whole, first, second = _trainer(), _trainer(), _trainer()
    whole.start(assignment)
    expected = _trained(whole)
    first.start(assignment)
    for _ in range(cut):
        first.epoch()
    tensors, meta = first.save(1)
    second.restore(assignment, unpack(pack(tensors), "x"), json.loads(json.dumps(meta)))
    ours = _trained(second)
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_a_frozen_body_keeps_its_weights_and_its_statistics():
    trainer = _trainer()
    trainer.start(_assignment(FineTune(max_lr=0.02, frozen=0.5)))
    before = {name: tensor.clone() for name, tensor in trainer.save(1)[0].items()}
    trainer.epoch()
    after = trainer.save(1)[0]
    changed = {name for name in before if name.startswith("model/") and not torch.equal(before[name], after[name])}
    assert changed == {"model/1.weight", "model/1.bias"}


class _Grouped(Transfer):
    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self._groups = groups

    def groups(self, model: nn.Module) -> Sequence[Sequence[str]]:
        return self._groups


def test_segments_of_the_row_follow_the_groups():
    task = Transfer()
    groups = parameter_groups(task, build_model(task, {}, 0))
    parameters = tuple(name for name, _ in build_model(task, {}, 0).named_parameters())
    assert [(s.group, s.start, s.stop) for s in groups.segments] == [(0, 0, 30), (1, 30, 42), (2, 42, 56)]
    assert sum((segment.names for segment in groups.segments), ()) == parameters
    alone = parameter_groups(_Grouped([]), build_model(task, {}, 0))
    assert alone.segments == (Segment(0, 0, 56, parameters),)
    last, middle, first = (list(names) for names in task.groups(build_model(task, {}, 0))[::-1])
    mixed = parameter_groups(_Grouped([middle, first + last]), build_model(task, {}, 0))
    assert [segment.group for segment in mixed.segments] == [1, 0, 1]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["0.0.weight"], []], r"groups: group 1 is empty"),
        ([["weight"]], r"groups: 'weight' is no trained parameter of the model"),
        ([["1.bias"], ["1.bias"]], r"groups: '1\.bias' is given twice"),
        ([["1.bias"], ["1.weight"]], r"groups: '0\.0\.weight' is in no group"),
    ],
)
def test_groups_that_do_not_fit_the_model_are_refused(groups: Sequence[Sequence[str]], message: str):
    with pytest.raises(TaskError, match=message):
        ModelTrainer(_Grouped(groups), Training({"kind": "adamw"}, BATCH, "sequential"), 1, {})
