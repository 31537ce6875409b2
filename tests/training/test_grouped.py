"""Trials of several groups in one lane: each trains as it would alone, bit by bit, whatever trains beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lab.errors import RecordError, TaskError
from lab.schedules import Constant, OneCycle
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Outcome, Trial
from lab.tasks.task import Data, Split, Task
from lab.training.grouped import Group, GroupedTrainer
from lab.training.interface import EpochResult
from lab.training.snapshots import pack, unpack
from lab.training.trainer import ModelTrainer

EPOCHS = 3
STACK = 2


class Images(Task):
    """Noise with a convolution, whose last bits depend on how many models are computed together."""

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed({"train": 0, "valid": 1, "test": 2}[split])
        y = torch.arange(26) % 2
        return torch.randn(26, 1, 4, 4, generator=generator) + y[:, None, None, None], y

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        channels, activation = int(params.get("channels", 4)), nn.GELU if params.get("gelu") else nn.ReLU
        return nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            activation(),
            nn.Dropout(float(params.get("dropout", 0.0))),
            nn.Flatten(),
            nn.Linear(16 * channels, 2),
        )


GROUPS: list[dict[str, Any]] = [
    {"dropout": 0.3},
    {"batch_size": 4, "dropout": 0.1},
    {"channels": 3},
    {"channels": 3, "batch_size": 4, "optimizer": "sgd"},
    {"gelu": True, "optimizer": "sgd", "nesterov": True},
    {"optimizer": "sgd"},
]


def _trainer(path: str = "stacked", width: int = 4, task: Task | None = None, stack: int = STACK) -> GroupedTrainer:
    return GroupedTrainer(task or Images(), Training({"kind": "adamw"}, 8, path), width, stack, {})


def _assignment(trial: int, slot: int, epochs: int = EPOCHS, **params: Any) -> Assignment:
    planned = Trial(params, 100 + trial, epochs, own_schedule=OneCycle(max_lr=0.05), keep=True)
    return Assignment(trial, planned, slot, 0)


def _alone(path: str, trial: int, **params: Any) -> list[EpochResult]:
    """What a trial gives in a trainer of its own, in slot 0."""
    trainer = _trainer(path)
    trainer.start(_assignment(trial, 0, **params))
    return [result for _ in range(EPOCHS) for result in trainer.epoch()]


def _values(results: list[EpochResult]) -> list[Any]:
    return [(r.metrics, r.outcome, r.files) for r in results]


@pytest.mark.parametrize("path", ["stacked", "vmap", "sequential"])
def test_a_trial_of_any_group_trains_among_others_as_alone(path: str):
    """Six trials of six groups come into four slots one epoch after the other, and leave them again."""
    trainer, results_of = _trainer(path), {}
    waiting = list(enumerate(GROUPS))
    running: dict[int, int] = {}
    while waiting or running:
        free = [slot for slot in range(4) if slot not in running]
        if waiting and free:
            trial, params = waiting.pop(0)
            trainer.start(_assignment(trial, free[-1], **params))
            running[free[-1]] = trial
            results_of[trial] = []
        for result in trainer.epoch():
            results_of[running[result.slot]].append(result)
            if result.outcome:
                trainer.stop(result.slot)
                del running[result.slot]
    for trial, params in enumerate(GROUPS):
        assert _values(results_of[trial]) == _values(_alone(path, trial, **params)), params
        assert results_of[trial][-1].outcome is Outcome.COMPLETED
        assert results_of[trial][-1].files


@pytest.fixture(scope="module")
def alone() -> dict[int, list[Any]]:
    """What each of four trials gives by itself."""
    return {i: _values(_alone("stacked", i, **params)) for i, params in enumerate(GROUPS[:4])}


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_no_order_of_coming_and_going_changes_a_bit(alone: dict[int, list[Any]], data: st.DataObject):
    trainer = _trainer(width=5)
    running: dict[int, tuple[int, int]] = {}
    for _ in range(12):
        for slot in data.draw(st.sets(st.sampled_from(sorted(set(range(5)) - running.keys()) or [0]), max_size=2)):
            if slot not in running:
                trial = data.draw(st.sampled_from(sorted(alone)))
                trainer.start(_assignment(trial, slot, **GROUPS[trial]))
                running[slot] = (trial, 0)
        for result in trainer.epoch():
            trial, epoch = running[result.slot]
            assert (result.metrics, result.outcome) == alone[trial][epoch][:2]
            running[result.slot] = (trial, epoch + 1)
            if result.outcome or data.draw(st.booleans()):  # a trial may be pruned at any time
                trainer.stop(result.slot)
                del running[result.slot]


def test_one_group_is_one_stacked_model():
    params = {"dropout": 0.2}
    trainer, plain = _trainer(stack=4), ModelTrainer(Images(), Training({"kind": "adamw"}, 8, "stacked"), 4, {})
    for slot in range(4):
        trainer.start(_assignment(slot, slot, **params))
        plain.start(_assignment(slot, slot, **params))
    assert [trainer.epoch() for _ in range(EPOCHS)] == [plain.epoch() for _ in range(EPOCHS)]
    assert {group: len(stacks) for group, stacks in trainer._stacks.items()} == {Group(8, 0): 1}


def test_the_kind_of_optimizer_makes_no_group_and_batch_size_and_architecture_do():
    trainer = _trainer(width=6)
    for trial, params in enumerate(GROUPS):
        trainer.start(_assignment(trial, trial, **params))
    trainer.epoch()
    taken = {group: sum(s.taken for s in stacks) for group, stacks in trainer._stacks.items()}
    assert taken == {Group(8, 0): 2, Group(4, 0): 1, Group(8, 1): 1, Group(4, 1): 1, Group(8, 2): 1}


def test_trials_of_a_group_move_together_when_a_stack_less_holds_them():
    trainer = _trainer(width=4)
    for slot in range(4):
        trainer.start(_assignment(slot, slot, epochs=6, dropout=0.3))
    before = trainer.epoch()
    for slot in (0, 3):
        trainer.stop(slot)
    after = trainer.epoch()
    assert [s.taken for s in trainer._stacks[Group(8, 0)]] in ([2, 0], [0, 2])
    assert [r.slot for r in before + after] == [0, 1, 2, 3, 1, 2]
    for slot in (1, 2):
        alone = _trainer()
        alone.start(_assignment(slot, 0, epochs=6, dropout=0.3))
        expected = [r.metrics for r in (*alone.epoch(), *alone.epoch())]
        assert [r.metrics for r in (*before, *after) if r.slot == slot] == expected


def test_trials_of_a_group_each_need_no_more_memory_than_twice_the_slots():
    trainer = _trainer(width=4)
    for trial in range(24):
        trainer.start(_assignment(trial, trial % 4, epochs=9, channels=1 + trial % 12))
        trainer.epoch()
        if trial >= 3:
            trainer.stop((trial - 3) % 4)
        rows = sum(STACK * len(stacks) for stacks in trainer._stacks.values())
        assert rows <= 2 * 4 + STACK


@pytest.mark.parametrize("path", ["stacked", "sequential"])
def test_a_trial_goes_on_in_another_lane_as_if_undisturbed(path: str):
    params = GROUPS[3]
    expected = _values(_alone(path, 3, **params))
    first, second = _trainer(path), _trainer(path)
    first.start(_assignment(0, 0))
    first.start(_assignment(3, 1, **params))
    begun = [r for r in first.epoch() if r.slot == 1]
    saved = first.save(1)
    assert saved is not None
    second.start(_assignment(9, 0, **params))
    second.epoch()
    second.restore(_assignment(3, 2, **params), unpack(pack(saved[0]), "x"), json.loads(json.dumps(saved[1])))
    begun += [r for _ in range(EPOCHS - 1) for r in second.epoch() if r.slot == 2]
    assert _values(begun) == expected


def test_a_trial_that_could_not_be_restored_leaves_its_slot_to_the_next():
    trainer, alone = _trainer(), _trainer()
    with pytest.raises(RecordError, match="what trial 0 had saved is not of the model that it has now"):
        trainer.restore(_assignment(0, 1), {"model/nowhere": torch.zeros(1)}, {})
    for each in (trainer, alone):
        each.start(_assignment(1, 1, batch_size=4))
    assert trainer.epoch() == alone.epoch()


def test_what_is_raised_in_one_group_ends_its_trials_and_no_others():
    class Breaks(Images):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            if len(output) % 4 == 0 and len(output) < 16:
                raise ValueError("no batch of four")
            return super().loss(output, target)

    trainer = _trainer(task=Breaks())
    trainer.start(_assignment(0, 2, dropout=0.3))
    trainer.start(_assignment(1, 1, batch_size=4))
    healthy, broken = _trainer(task=Breaks()), {r.slot: r for r in trainer.epoch()}
    assert (broken[1].outcome, broken[2].outcome) == (Outcome.FAILED, None)
    assert "ValueError: no batch of four" in broken[1].detail
    healthy.start(_assignment(0, 2, dropout=0.3))
    assert broken[2] == healthy.epoch()[0]
    trainer.stop(1)
    trainer.start(_assignment(2, 1, batch_size=13))
    assert [r.outcome for r in trainer.epoch()] == [None, None]


def test_one_after_the_other_what_a_model_raises_is_its_own_end():
    class Picky(nn.Module):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.rate, self.inner = rate, nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            if self.rate > 0.5:
                raise ValueError("too much dropout")
            return self.inner(x.flatten(1))

    class Raises(Images):
        def model(self, params: Mapping[str, Any]) -> nn.Module:
            return Picky(params["dropout"])

    trainer, alone = (
        GroupedTrainer(Raises(), Training({"kind": "adamw"}, 8, "sequential"), 2, 2, {"dropout": 0}) for _ in range(2)
    )
    for each in (trainer, alone):
        each.start(_assignment(0, 0, dropout=0.1))
    trainer.start(_assignment(1, 1, dropout=0.9))
    results = trainer.epoch()
    assert results[0] == alone.epoch()[0]
    assert results[1].outcome is Outcome.FAILED
    assert "too much dropout" in results[1].detail


def test_a_group_takes_the_room_of_an_idle_one_and_of_no_other(monkeypatch: pytest.MonkeyPatch):
    class Tight(ModelTrainer):
        """There is room for one."""

        def __init__(self, *arguments: Any) -> None:
            if trainer._stacks:
                raise torch.OutOfMemoryError("CUDA out of memory")
            super().__init__(*arguments)

    trainer = _trainer(width=2, stack=1)
    monkeypatch.setattr("lab.training.grouped.ModelTrainer", Tight)
    trainer.start(_assignment(0, 0, channels=3))
    with pytest.raises(torch.OutOfMemoryError):
        trainer.start(_assignment(1, 1, channels=5))
    assert [r.slot for r in trainer.epoch()] == [0]


def test_memory_that_runs_out_is_for_the_lane_to_see_to():
    class Large(Images):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = _trainer(task=Large())
    trainer.start(_assignment(0, 0))
    with pytest.raises(torch.OutOfMemoryError):
        trainer.epoch()


def test_a_batch_above_the_data_is_refused_when_its_trial_starts_and_the_slot_stays_free():
    trainer = _trainer()
    with pytest.raises(TaskError, match="batch_size 27 is above the 26 training examples"):
        trainer.start(_assignment(0, 0, batch_size=27))
    trainer.start(_assignment(1, 0, batch_size=26))
    assert [r.slot for r in trainer.epoch()] == [0]


def test_an_epoch_is_the_whole_batches_of_the_trials_own_size():
    trainer = _trainer(width=2)
    schedule = Constant(max_lr=0.01)
    for slot, size in enumerate((8, 4)):
        trainer.start(Assignment(slot, Trial({"batch_size": size}, 0, 2, own_schedule=schedule), slot, 0))
    trainer.epoch()
    steps = [trainer.save(slot)[1]["step"] for slot in (0, 1)]  # type: ignore[index]
    assert steps == [26 // 8, 26 // 4]
