"""The one loop: resumed runs are uninterrupted ones, snapshots stand where the schedule says, ends have reasons."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.schedules import Constant, OneCycle, Ramp, Schedule, Snapshot
from lab.spec.exchange import Assignment
from lab.spec.folds import Folds
from lab.spec.plan import Training
from lab.spec.trial import Outcome, Trial
from lab.tasks.build import build_model
from lab.tasks.folds import Part
from lab.tasks.task import Data, Split, Task
from lab.training.batches import Examples
from lab.training.optimizer import AdamW, Step
from lab.training.snapshots import pack, unpack
from lab.training.trainer import (
    EpochResult,
    ModelTrainer,
    steps_per_epoch,
)

PATHS = ["stacked", "sequential"]
STEPS = 3
BATCH = 8


class Blobs(Task):
    """Two noisy blobs; one epoch is three steps of eight, two examples left over."""

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed({"train": 0, "valid": 1, "test": 2}[split])
        y = torch.arange(26) % 2
        return torch.randn(26, 4, generator=generator) + y[:, None], y

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        rate = float(params.get("dropout", 0.0))
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(rate), nn.Linear(8, 2))


def _training(path: str, **more: Any) -> Training:
    return Training({"kind": "adamw"}, BATCH, path, **more)


def _assignment(number: int, slot: int, schedule: Schedule, epochs: int = 4, **more: Any) -> Assignment:
    trial = Trial({"dropout": 0.3, **more.pop("params", {})}, 100 + number, epochs, own_schedule=schedule, **more)
    return Assignment(number, trial, slot, 0)


def _trainer(path: str, width: int = 2, **more: Any) -> ModelTrainer:
    return ModelTrainer(Blobs(), _training(path, **more), width, {})


def _run(trainer: ModelTrainer, slot: int) -> list[EpochResult]:
    """Train until the trial in a slot ends; its results."""
    collected: list[EpochResult] = []
    while not collected or collected[-1].outcome is None:
        results = trainer.epoch()
        collected += [r for r in results if r.slot == slot]
        for result in results:
            if result.outcome is not None:
                trainer.stop(result.slot)
    return collected


def _files(results: list[EpochResult]) -> dict[str, bytes]:
    """What all epochs have handed out, in its order."""
    return {name: content for result in results for name, content in result.files.items()}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(path: str, cut: int):
    assignment = _assignment(3, 1, Snapshot(max_lr=0.05, cycles=3), keep=True)
    whole = _trainer(path)
    whole.start(assignment)
    expected = _run(whole, 1)
    first = _trainer(path)
    first.start(assignment)
    first.start(_assignment(4, 0, OneCycle(max_lr=0.1)))
    before = [r for _ in range(cut) for r in first.epoch() if r.slot == 1]
    saved = first.save(1)
    assert saved is not None
    tensors, meta = unpack(pack(saved[0]), "x"), json.loads(json.dumps(saved[1]))
    second = _trainer(path)
    second.start(_assignment(9, 1, Constant(max_lr=0.1)))
    second.epoch()
    second.stop(1)
    second.restore(assignment, tensors, meta)
    assert before + _run(second, 1) == expected
    assert list(_files(expected)) == [f"final/0003-{i}.safetensors" for i in range(3)]


@pytest.mark.parametrize("path", PATHS)
def test_where_the_examples_lie_changes_nothing(path: str):
    assignment = _assignment(3, 1, OneCycle(max_lr=0.05))
    runs = []
    for resident in (True, False):
        splits: tuple[Split, ...] = ("train", "valid")
        data = {split: Examples(Blobs().data(split), torch.device("cpu"), resident) for split in splits}
        trainer = ModelTrainer(Blobs(), _training(path), 2, {}, data)
        trainer.start(assignment)
        runs.append(_run(trainer, 1))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("path", PATHS)
def test_recorded_losses_go_on_after_a_restore(path: str):
    assignment = _assignment(0, 0, Ramp(start=1e-4, end=0.1), epochs=3)
    whole, first, second = (_trainer(path, record_losses=True) for _ in range(3))
    whole.start(assignment)
    expected = _run(whole, 0)[-1]
    assert len(expected.step_losses) == 3 * STEPS
    first.start(assignment)
    first.epoch()
    saved = first.save(0)
    assert saved is not None
    second.restore(assignment, unpack(pack(saved[0]), "x"), saved[1])
    assert _run(second, 0)[-1] == expected


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "schedule", [OneCycle(max_lr=0.05), Snapshot(max_lr=0.05, cycles=5), Snapshot(max_lr=0.05, cycles=12)]
)
def test_snapshots_are_the_weights_right_after_the_last_step_of_a_cycle(path: str, schedule: Schedule):
    class Noted(AdamW):
        def step(self, step: Step) -> None:
            super().step(step)
            rows.append(step.row.clone())

    rows: list[Tensor] = []
    trainer = _trainer(path, width=1)
    trainer.start(_assignment(7, 0, schedule, keep=True))
    trainer._slots[0].optimizer = Noted()
    files = _files(_run(trainer, 0))
    ends = schedule.cycle_ends(4 * STEPS)
    assert list(files) == [f"final/0007-{i}.safetensors" for i in range(len(ends))]
    for step, content in zip(ends, files.values(), strict=True):
        tensors = unpack(content, "x")
        names = [name for name, _ in build_model(Blobs(), {}, 0).named_parameters()]
        assert torch.equal(torch.cat([tensors[name].flatten() for name in names]), rows[step])
        assert "1.running_mean" in tensors


def test_a_snapshot_is_handed_out_with_its_epoch_and_not_kept():
    schedule = Snapshot(max_lr=0.05, cycles=3)
    trainer = _trainer("stacked", width=1)
    trainer.start(_assignment(0, 0, schedule, keep=True))
    for epoch in range(4):
        (result,) = trainer.epoch()
        ends = [end for end in schedule.cycle_ends(4 * STEPS) if end // STEPS == epoch]
        assert len(result.files) == len(ends)
        saved = trainer.save(0)
        assert saved is not None
        assert {name.partition("/")[0] for name in saved[0]} == {"model", "optimizer"}


def test_snapshots_that_an_earlier_version_kept_in_a_checkpoint_are_handed_out():
    assignment = _assignment(3, 0, Snapshot(max_lr=0.05, cycles=4), keep=True)
    whole, first, second = (_trainer("stacked", width=1) for _ in range(3))
    for trainer in (whole, first):
        trainer.start(assignment)
    expected = _run(whole, 0)
    results = [first.epoch()[0] for _ in range(2)]
    saved = first.save(0)
    assert saved is not None
    kept = {f"file/{name}": torch.frombuffer(bytearray(c), dtype=torch.uint8) for name, c in _files(results).items()}
    assert len(kept) == 2
    second.restore(assignment, saved[0] | kept, saved[1])
    rest = _run(second, 0)
    assert _files(rest) == _files(expected)
    assert [r.metrics for r in rest] == [r.metrics for r in expected[2:]]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_slots_updated_together_train_as_one_by_one(path: str, kind: str, monkeypatch: pytest.MonkeyPatch):
    """As on a GPU; some slots are free."""

    def trained(together: bool) -> list[EpochResult]:
        trainer = ModelTrainer(Blobs(), Training({"kind": kind, "max_grad_norm": 0.5}, BATCH, path), 4, {})
        monkeypatch.setattr(trainer, "_together", together)
        for slot in (0, 2):
            trainer.start(_assignment(slot, slot, OneCycle(max_lr=0.01), keep=True))
        return [result for _ in range(4) for result in trainer.epoch()]

    for one, other in zip(trained(False), trained(True), strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-3)
        assert one.files.keys() == other.files.keys()


def test_nothing_is_kept_unless_it_was_asked_for():
    trainer = _trainer("stacked")
    trainer.start(_assignment(0, 0, Snapshot(max_lr=0.05, cycles=2)))
    assert _files(_run(trainer, 0)) == {}


@pytest.mark.parametrize("path", PATHS)
def test_a_trial_trains_the_same_whatever_its_neighbours_do(path: str):
    assignment = _assignment(0, 2, OneCycle(max_lr=0.05))
    alone = _trainer(path, width=3)
    alone.start(assignment)
    expected = _run(alone, 2)
    among = _trainer(path, width=3)
    among.start(_assignment(1, 0, Constant(max_lr=1e30)))  # diverges, and is followed by another
    among.start(assignment)
    epochs = []
    for epoch in range(4):
        results = {r.slot: r for r in among.epoch()}
        epochs.append(results[2])
        if epoch == 1:
            among.start(_assignment(5, 1, OneCycle(max_lr=0.1), epochs=2))
        if 0 in results and results[0].outcome is not None:
            assert results[0].outcome is Outcome.DIVERGED
            among.stop(0)
            among.start(_assignment(6, 0, OneCycle(max_lr=0.1), epochs=9))
    assert epochs == expected


@pytest.mark.parametrize("path", PATHS)
def test_a_hyperparameter_of_the_optimizer_is_the_trials(path: str):
    clipped = {"max_grad_norm": 0.01, "beta2": 0.9}
    beside = _trainer(path, width=2)
    for slot, params in enumerate(({}, clipped)):
        beside.start(Assignment(slot, Trial(params, 3, 4, own_schedule=OneCycle(max_lr=0.05)), slot, 0))
    metrics = {r.slot: r.metrics for r in beside.epoch()}
    assert metrics[0] != metrics[1]
    alone = ModelTrainer(Blobs(), replace(_training(path), optimizer=clipped), 2, {})
    alone.start(Assignment(1, Trial({}, 3, 4, own_schedule=OneCycle(max_lr=0.05)), 1, 0))
    assert [r.metrics for r in alone.epoch()] == [metrics[1]]


def test_both_paths_train_the_same_without_dropout():
    results = []
    for path in PATHS:
        trainer = _trainer(path)
        trainer.start(Assignment(0, Trial({}, 5, 3, own_schedule=OneCycle(max_lr=0.01)), 0, 0))
        results.append(_run(trainer, 0)[-1].metrics)
    assert results[0] == pytest.approx(results[1], rel=1e-3)


@pytest.mark.parametrize("path", PATHS)
def test_a_batch_in_parts_is_one_step(path: str, monkeypatch: pytest.MonkeyPatch):
    """Without batch norm, which sees the parts."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    monkeypatch.setattr(Blobs, "model", lambda self, params: copy.deepcopy(net))
    results = []
    for micro_batch in (None, 3):
        trainer = _trainer(path, micro_batch=micro_batch)
        trainer.start(Assignment(0, Trial({}, 5, 3, own_schedule=OneCycle(max_lr=0.01)), 0, 0))
        results.append(_run(trainer, 0)[-1].metrics)
    assert results[0] == pytest.approx(results[1], rel=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_the_random_state_of_the_process_stays_as_it_was(path: str):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    trainer = _trainer(path)
    trainer.start(_assignment(0, 0, OneCycle(max_lr=0.05), epochs=1))
    _run(trainer, 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("path", PATHS)
def test_a_loss_that_is_no_number_is_a_diverged_trial(path: str):
    trainer = _trainer(path)
    trainer.start(_assignment(0, 0, Constant(max_lr=1e30)))
    result = _run(trainer, 0)[-1]
    assert result.outcome is Outcome.DIVERGED
    assert result.files == {}


calls: list[int] = []


class Strict(Blobs):
    """Its loss refuses what is no number, as many do."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        calls.append(len(output))
        if not output.isfinite().all():
            raise ValueError("input contains NaN")
        return super().loss(output, target)


@pytest.mark.parametrize("path", PATHS)
def test_a_loss_that_refuses_one_slots_outputs_changes_no_bit_of_another(path: str):
    healthy, both = (ModelTrainer(Strict(), _training(path), 2, {}) for _ in range(2))
    for trainer in (healthy, both):
        trainer.start(_assignment(0, 0, OneCycle(max_lr=0.05)))
    both.start(_assignment(1, 1, Constant(max_lr=1e30)))
    expected = _run(healthy, 0)
    first = both.epoch()
    assert first[1].outcome is Outcome.DIVERGED
    assert first[1].detail == "outputs not finite at step 1 (ValueError: input contains NaN)"
    assert list(first[1].metrics) == ["train_loss"]
    both.stop(1)
    calls.clear()
    assert [first[0], *_run(both, 0)] == expected
    assert len(calls) == 3 * (STEPS + 1), "what it left in its row is refused at every step"


@pytest.mark.parametrize("path", PATHS)
def test_a_range_test_whose_loss_refuses_what_is_no_number_keeps_the_losses_before(path: str):
    trainer = ModelTrainer(Strict(), _training(path, record_losses=True, stop_at=1e9), 1, {})
    trainer.start(_assignment(0, 0, Ramp(start=1e-3, end=1e35), epochs=40))
    result = _run(trainer, 0)[-1]
    assert result.outcome is Outcome.DIVERGED
    assert 10 < len(result.step_losses) < 40 * STEPS
    assert all(map(math.isfinite, result.step_losses))


class Sometimes(Blobs):
    """Adds what is drawn, of trials that ask for it; None: no augmentation."""

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> Any:
        return random.random((examples, 4), dtype=np.float32) if params.get("noise") else None

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        return x.add_(100 * draws + 1), y


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("noisy", [(True, False), (False, True)])
def test_a_trial_without_augmentation_has_none_whatever_its_neighbour_has(path: str, noisy: tuple[bool, bool]):
    assignments = [_assignment(i, i, OneCycle(max_lr=0.05), params={"noise": noise}) for i, noise in enumerate(noisy)]
    together = ModelTrainer(Sometimes(), _training(path), 2, {})
    for assignment in assignments:
        together.start(assignment)
    results = together.epoch()
    for assignment in assignments:
        alone = ModelTrainer(Sometimes(), _training(path), 2, {})
        alone.start(assignment)
        assert alone.epoch() == (results[assignment.slot],)


def test_targets_of_another_shape_for_some_trials_alone_are_refused():
    class Mixes(Sometimes):
        def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
            return x, nn.functional.one_hot(y, 2).float()

    trainer = ModelTrainer(Mixes(), _training("stacked"), 2, {})
    for i, noise in enumerate((True, False)):
        trainer.start(_assignment(i, i, OneCycle(max_lr=0.05), params={"noise": noise}))
    with pytest.raises(TaskError, match=r"Mixes\.draw: gave None for one trial and numbers for another"):
        trainer.epoch()


def test_weights_that_the_last_update_broke_are_a_diverged_trial():
    class Breaks(AdamW):
        def step(self, step: Step) -> None:
            super().step(step)
            step.row.fill_(float("nan"))

    trainer = ModelTrainer(Blobs(), _training("stacked", epoch_steps=1), 1, {})
    trainer.start(_assignment(0, 0, Constant(max_lr=0.1), epochs=1, keep=True))
    trainer._slots[0].optimizer = Breaks()
    (result,) = trainer.epoch()
    assert (result.outcome, result.detail) == (Outcome.DIVERGED, "validation loss nan after step 0")
    assert result.files == {}


def test_a_range_test_stops_where_its_loss_rises():
    trainer = _trainer("stacked", record_losses=True, stop_at=1.5)
    trainer.start(_assignment(0, 0, Ramp(start=1e-3, end=1e3), epochs=40))
    result = _run(trainer, 0)[-1]
    assert result.outcome is Outcome.DIVERGED
    assert "loss above 1.5 times its best" in result.detail or "training loss" in result.detail
    assert len(result.step_losses) < 40 * STEPS


def test_validation_is_that_of_the_plain_model():
    class Big(Blobs):
        def data(self, split: Split) -> Data:
            generator = torch.Generator().manual_seed(5)
            n = 26 if split == "train" else 33_000  # more than is evaluated at once
            return torch.randn(n, 4, generator=generator), torch.randint(2, (n,), generator=generator)

    task = Big()
    trainer = ModelTrainer(task, _training("stacked"), 1, {})
    trainer.start(Assignment(0, Trial({}, 1, 1, own_schedule=Constant(max_lr=1e-30, weight_decay=0.0)), 0, 0))
    (result,) = trainer.epoch()
    module = build_model(task, {}, 1)
    for name, tensor in trainer._models.tensors(0).items():
        (dict(module.named_parameters()) | dict(module.named_buffers()))[name].data.copy_(tensor)
    x, y = task.data("valid")
    with torch.no_grad():
        output = module.eval()(x)
    assert result.metrics["accuracy"] == pytest.approx(float((output.argmax(1) == y).float().mean()), abs=1e-4)
    assert result.metrics["valid_loss"] == pytest.approx(float(nn.functional.cross_entropy(output, y)), rel=1e-4)


def test_an_epoch_is_the_whole_batches_and_no_longer_than_asked():
    assert steps_per_epoch(26, _training("stacked")) == 3
    assert steps_per_epoch(26, _training("stacked", epoch_steps=2)) == 2
    assert steps_per_epoch(26, _training("stacked", epoch_steps=9)) == 3
    with pytest.raises(TaskError, match="batch_size 8 is above the 7 training examples"):
        steps_per_epoch(7, _training("stacked"))


@pytest.mark.parametrize("path", PATHS)
def test_lazy_layers_take_their_shapes_from_the_data(path: str):
    class Lazy(Blobs):
        def model(self, params: Mapping[str, Any]) -> nn.Module:
            return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(2))

    trainer = ModelTrainer(Lazy(), _training(path), 2, {})
    trainer.start(_assignment(0, 0, OneCycle(max_lr=0.05)))
    trainer.start(_assignment(1, 1, OneCycle(max_lr=0.05)))
    first, second = (r.metrics for r in trainer.epoch())
    assert first != second
    assert {name: tuple(t.shape) for name, t in trainer._models.tensors(0).items()}["0.weight"] == (8, 4)


class Pixels(Task):
    """Blobs as bytes, made ready by `model_input`, augmented by noise and by soft targets from each trial's draws."""

    def data(self, split: Split) -> Data:
        x, y = Blobs().data(split)
        return ((x + 5) * 20).clamp(0, 255).to(torch.uint8), y

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return Blobs().model(params)

    def model_input(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.uint8
        return x.to(torch.float32) / 20 - 5

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> Any:
        noise = random.normal(size=(examples, 5)).astype(np.float32)
        noise[:, 4] = params.get("smoothing", 0.1)
        return noise

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        smoothing = draws[..., 4:]
        target = nn.functional.one_hot(y, 2) * (1 - smoothing) + smoothing / 2
        return x + draws[..., :4], target


@pytest.mark.parametrize("path", PATHS)
class TestHooks:
    """`model_input`, `draw` and `augment` are a trial's own."""

    @staticmethod
    def _trainer(path: str, task: Task | None = None, width: int = 3) -> ModelTrainer:
        return ModelTrainer(task or Pixels(), _training(path), width, {})

    @staticmethod
    def _assignment(trial: int, slot: int, **params: Any) -> Assignment:
        planned = Trial({"dropout": 0.3, **params}, 100 + trial, 4, own_schedule=OneCycle(max_lr=0.05))
        return Assignment(trial, planned, slot, 0)

    def test_a_trial_trains_the_same_alone_and_among_others(self, path: str):
        alone = self._trainer(path)
        alone.start(self._assignment(0, 2))
        expected = _run(alone, 2)
        among = self._trainer(path)
        among.start(self._assignment(0, 2))
        among.start(self._assignment(1, 0, smoothing=0.5))
        results = [r for r in among.epoch() if r.slot == 2]
        among.stop(0)
        among.start(self._assignment(5, 1))
        results += [r for _ in range(3) for r in among.epoch() if r.slot == 2]
        assert results == expected

    def test_a_resumed_trial_goes_on_with_the_same_augmentation(self, path: str):
        whole, first, second = (self._trainer(path) for _ in range(3))
        whole.start(self._assignment(3, 1))
        expected = _run(whole, 1)
        first.start(self._assignment(3, 1))
        before = [*first.epoch(), *first.epoch()]
        saved = first.save(1)
        assert saved is not None
        second.start(self._assignment(9, 0))
        second.epoch()
        second.restore(self._assignment(3, 1), unpack(pack(saved[0]), "x"), json.loads(json.dumps(saved[1])))
        assert before + _run(second, 1) == expected

    def test_augmentation_is_what_training_sees_and_validation_does_not(self, path: str):
        class Heard(Pixels):
            def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
                seen.append((x.shape[:2], x.dtype, draws.clone()))
                return super().augment(x, y, draws)

        seen: list[Any] = []
        trainer = self._trainer(path, Heard())
        trainer.start(self._assignment(0, 1))
        trainer.epoch()
        assert len(seen) == STEPS
        assert all(shape == (3, BATCH) and dtype == torch.float32 for shape, dtype, _ in seen)
        assert all(not draws[0].any() and draws[1].any() for *_, draws in seen)  # an empty slot draws nothing
        assert len({draws[1].numpy().tobytes() for *_, draws in seen}) == STEPS

    def test_a_hyperparameter_of_the_augmentation_is_the_trials(self, path: str):
        losses = []
        for smoothing in (0.0, 0.9):
            trainer = self._trainer(path)
            trainer.start(self._assignment(0, 0, smoothing=smoothing))
            losses.append(_run(trainer, 0)[-1].metrics["train_loss"])
        assert losses[1] > losses[0] + 0.1

    def test_no_draws_are_no_augmentation(self, path: str):
        class Plain(Pixels):
            def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> Any:
                return None

            def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
                raise AssertionError("nothing was drawn")

        class Unaware(Task):
            def data(self, split: Split) -> Data:
                x, y = Pixels().data(split)
                return Pixels().model_input(x), y

            def model(self, params: Mapping[str, Any]) -> nn.Module:
                return Blobs().model(params)

        results = []
        for task in (Plain(), Unaware()):
            trainer = self._trainer(path, task)
            trainer.start(self._assignment(0, 0))
            results.append(_run(trainer, 0))
        assert results[0] == results[1]


class Joined(Blobs):
    """Trains on what the blobs are trained and validated on."""

    def data(self, split: Split) -> Data:
        if split != "train":
            return super().data(split)
        (x, y), (more_x, more_y) = super().data("train"), super().data("valid")
        return torch.cat([x, more_x]), torch.cat([y, more_y])


@pytest.mark.parametrize("path", PATHS)
def test_a_refit_trains_on_the_validation_examples_as_if_they_had_been_training_examples(path: str):
    trainers = {
        "refit": ModelTrainer(Blobs(), _training(path, with_valid=True, weights="refit"), 2, {}),
        "joined": ModelTrainer(Joined(), _training(path), 2, {}),
    }
    ends = {}
    for name, trainer in trainers.items():
        trainer.start(_assignment(7, 0, OneCycle(max_lr=0.05), keep=True))
        ends[name] = _run(trainer, 0)
    assert list(ends["refit"][-1].files) == ["refit/0007-0.safetensors"]
    assert [*ends["refit"][-1].files.values()] == [*ends["joined"][-1].files.values()]
    assert [r.metrics["train_loss"] for r in ends["refit"]] == [r.metrics["train_loss"] for r in ends["joined"]]
    assert all(r.metrics.keys() == {"train_loss"} for r in ends["refit"]), "nothing is left to validate on"
    assert "valid_loss" in ends["joined"][-1].metrics


FOLDS = Folds((*(1 + n % 2 for n in range(26)), *[0] * 26))


def _fold_trainer(path: str, width: int = 3, **more: Any) -> ModelTrainer:
    return _trainer(path, width, folds=FOLDS, **more)


class OnFold(Blobs):
    """Trains on what is left where a fold is left out, and is validated on that."""

    def __init__(self, fold: int) -> None:
        self._part = Part(Blobs(), FOLDS, fold)

    def data(self, split: Split) -> Data:
        return self._part.valid if split == "valid" else self._part.train


@pytest.mark.parametrize("path", PATHS)
def test_trials_of_several_folds_train_in_one_stack_as_if_each_had_data_of_its_own(path: str):
    together = _fold_trainer(path)
    for fold in range(3):
        together.start(_assignment(7 + fold, fold, OneCycle(max_lr=0.05), keep=True, fold=fold))
    results_of: dict[int, list[EpochResult]] = {fold: [] for fold in range(3)}
    for _ in range(4):
        for result in together.epoch():
            results_of[result.slot].append(result)
    for fold in range(3):
        # As many steps as where the largest fold is left out: 26 of 52 rows are left, in batches of 8.
        own = ModelTrainer(OnFold(fold), _training(path, epoch_steps=3), 3, {})
        own.start(_assignment(7 + fold, fold, OneCycle(max_lr=0.05), keep=True))
        expected = _run(own, fold)
        assert [r.files for r in results_of[fold]] == [r.files for r in expected]
        for result, other in zip(results_of[fold], expected, strict=True):
            assert result.metrics == pytest.approx(other.metrics, rel=1e-6)
            assert result.metrics["train_loss"] == other.metrics["train_loss"]


@pytest.mark.parametrize("path", PATHS)
def test_a_trial_that_leaves_out_a_fold_is_the_same_alone_and_resumed(path: str):
    assignment = _assignment(3, 1, Snapshot(max_lr=0.05, cycles=2), keep=True, fold=2)
    alone = _fold_trainer(path)
    alone.start(assignment)
    expected = _run(alone, 1)
    first = _fold_trainer(path)
    first.start(_assignment(4, 0, OneCycle(max_lr=0.1), fold=0))
    first.start(assignment)
    before = [r for _ in range(2) for r in first.epoch() if r.slot == 1]
    saved = first.save(1)
    second = _fold_trainer(path)
    second.start(_assignment(9, 2, Constant(max_lr=0.1), fold=1))
    second.epoch()
    second.restore(assignment, *saved)
    assert before + _run(second, 1) == expected
    assert "valid_loss" in expected[-1].metrics
