"""One model trained by two processes, on gloo: the numbers of one process, and every way in which one of them ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.schedules import OneCycle
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Outcome, Trial
from lab.tasks.task import Data, Split, Task
from lab.training.data_parallel.peers import Peers
from lab.training.data_parallel.trainer import DataParallelTrainer
from lab.training.device import DeviceLost
from lab.training.grouped import GroupedTrainer
from lab.training.interface import EpochResult, Trainer
from lab.training.snapshots import unpack

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lanes_forked")]
SLOT = 0


class Doubles(Task):
    """A regression in float64, so that only a wrong step differs by more than the last digits."""

    kind = "regression"
    metric = "valid_loss"
    direction = "minimize"

    def __init__(self, harm: str = "") -> None:
        self.harm = harm

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        # Five channels are no multiple of two processes, and the last layer's one row is no share for the second.
        filters = nn.Sequential(nn.Unflatten(1, (1, 1, 3)), nn.Conv2d(1, 5, (1, 2)), nn.Flatten())
        return nn.Sequential(filters, nn.Tanh(), nn.Dropout(params["dropout"]), nn.Linear(10, 1)).double()

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed({"train": 0, "valid": 1, "test": 2}[split])
        x = torch.randn(45 if split == "valid" else 48, 3, generator=generator, dtype=torch.float64)
        return x, x[:, :1].sin() + 0.1 * x[:, 1:2]

    def groups(self, model: nn.Module) -> Any:
        names = [name for name, _ in model.named_parameters()]
        return [names[:2], names[2:]]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).pow(2).mean(dim=-1)

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        return x + draws[..., None], y

    def draw(self, examples: int, random: Any, params: Mapping[str, Any]) -> Any:
        return random.normal(0.0, 0.01, examples).astype("float32")


class Harmed(Doubles):
    """It harms the second process alone, in its third step, and in no process that comes after that one."""

    steps = 0

    def __init__(self, harm: str, done: Path) -> None:
        super().__init__(harm)
        self.done = done
        """The file that says that it has."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        import torch.distributed as dist

        Harmed.steps += output.requires_grad
        asked = {"memory": (3,), "validation": ()}.get(
            self.harm, (3, 4)
        )  # a loss that raises is asked once more, for its slot
        if dist.get_rank() == 1 and Harmed.steps in asked and not self.done.exists():
            if Harmed.steps == asked[-1]:
                self.done.touch()
            if self.harm == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
            if self.harm == "death":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("a target that it does not know")
        return super().loss(output, target)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        import torch.distributed as dist

        if self.harm == "model" and dist.get_rank() == 1:
            raise ValueError("no such layer here")
        return nn.Sequential(super().model(params), _Refuses()) if self.harm == "validation" else super().model(params)


class _Refuses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        import torch.distributed as dist

        if not self.training and dist.get_rank() == 1:
            raise ValueError("no such rows here")
        return x


def made(task: Task, peers: Peers | None = None) -> Trainer:
    training = Training({"kind": "adamw", "max_grad_norm": 0.5}, 12, path="sequential")
    return GroupedTrainer(task, training, 1, 1, {"dropout": 0.0}, peers)


def trial(dropout: float = 0.0, epochs: int = 2) -> Assignment:
    schedule = OneCycle(max_lr=0.02, lr_divisor=2.6)
    return Assignment(SLOT, Trial({"dropout": dropout}, 5, epochs, own_schedule=schedule, keep=True), 0, 0)


@pytest.fixture
def trainers() -> Iterator[list[DataParallelTrainer]]:
    """Those of a test, closed behind it."""
    several: list[DataParallelTrainer] = []
    yield several
    for trainer in several:
        trainer._close()


@pytest.fixture(params=[False, True], ids=["whole", "sharded"])
def is_sharded(request: pytest.FixtureRequest) -> bool:
    """Whether each process has a share of the model."""
    return bool(request.param)


def by_two(trainers: list[DataParallelTrainer], task: Task, is_sharded: bool = False) -> DataParallelTrainer:
    trainer = DataParallelTrainer(2, partial(made, task), sharded=is_sharded)
    trainers.append(trainer)
    return trainer


def ended(trainer: Trainer) -> EpochResult:
    (result,) = trainer.epoch()
    return result


def kept(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    saved = trainer.save(SLOT)
    assert saved is not None
    return {name: tensor.clone() for name, tensor in saved[0].items()}, saved[1]


def test_two_processes_train_as_one_does_and_go_on_where_they_were(
    trainers: list[DataParallelTrainer], is_sharded: bool
) -> None:
    alone = made(Doubles())
    alone.start(trial())
    expected = [ended(alone), ended(alone)]
    weights, _ = kept(alone)
    together = by_two(trainers, Doubles(), is_sharded)
    together.start(trial())
    first = ended(together)
    assert first.metrics == pytest.approx(expected[0].metrics, abs=1e-10)
    saved = kept(together)
    together.stop(SLOT)
    together.restore(trial(), *saved)
    second = ended(together)
    assert (second.outcome, second.metrics) == (Outcome.COMPLETED, pytest.approx(expected[1].metrics, abs=1e-10))
    for name, tensor in kept(together)[0].items():
        if name.startswith(("model/", "optimizer/")):
            torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-8)
    ((name, snapshot),) = second.files.items()
    assert name in expected[1].files
    for at, tensor in unpack(snapshot, name).items():
        torch.testing.assert_close(tensor, weights[f"model/{at}"], rtol=0, atol=1e-8)
    alone.stop(SLOT)
    alone.restore(trial(), *saved)
    assert ended(alone).metrics == pytest.approx(expected[1].metrics, abs=1e-10)


def test_shares_have_noise_of_their_own_and_a_resumed_trial_has_it_again(
    trainers: list[DataParallelTrainer], is_sharded: bool
) -> None:
    former = by_two(trainers, Doubles(), is_sharded)
    trainer = by_two(trainers, Doubles(), is_sharded)
    former._close()  # as that of a stage before, which goes when the next one's is there
    trainer.start(trial(dropout=0.5))
    ended(trainer)
    saved = kept(trainer)
    undisturbed = ended(trainer)
    trainer.stop(SLOT)
    trainer.restore(trial(dropout=0.5), *saved)
    assert ended(trainer).metrics == undisturbed.metrics


@pytest.mark.parametrize(
    ("harm", "outcome", "said"),
    [("loss", Outcome.FAILED, "ValueError: a target that it does not know"), ("memory", None, "3 GiB")],
)
def test_what_one_process_meets_ends_the_trial_in_all_and_the_next_one_is_sound(
    harm: str, outcome: Outcome | None, said: str, trainers: list[DataParallelTrainer], is_sharded: bool, tmp_path: Path
) -> None:
    trainer = by_two(trainers, Harmed(harm, tmp_path / "done"), is_sharded)
    trainer.start(trial())
    if outcome is None:
        with pytest.raises(torch.OutOfMemoryError, match=said):
            trainer.epoch()
    else:
        result = ended(trainer)
        assert result.outcome is outcome
        assert said in result.detail
    trainer.stop(SLOT)
    trainer.start(trial())
    alone = made(Doubles())
    alone.start(trial())
    assert ended(trainer).metrics == pytest.approx(ended(alone).metrics, abs=1e-10)


def test_what_one_process_meets_in_its_share_of_the_validation_ends_the_trial(
    trainers: list[DataParallelTrainer], is_sharded: bool, tmp_path: Path
) -> None:
    trainer = by_two(trainers, Harmed("validation", tmp_path / "done"), is_sharded)
    trainer.start(trial())
    result = ended(trainer)
    assert result.outcome is Outcome.FAILED
    assert "no such rows here" in result.detail


def test_a_process_that_dies_is_no_fault_of_the_trial(
    trainers: list[DataParallelTrainer], is_sharded: bool, tmp_path: Path
) -> None:
    trainer = by_two(trainers, Harmed("death", tmp_path / "done"), is_sharded)
    trainer.start(trial())
    with pytest.raises(DeviceLost, match="a process of this lane has died"):
        trainer.epoch()


def test_one_that_cannot_make_its_trainer_is_said(trainers: list[DataParallelTrainer], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no such layer here"):
        by_two(trainers, Harmed("model", tmp_path / "done"))
