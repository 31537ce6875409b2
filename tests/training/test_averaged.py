"""The moving average of weights: as PyTorch's own, on every path, and exact when a trial goes on from a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lab.schedules import OneCycle, Schedule, Snapshot
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Trial
from lab.tasks.task import Data, Split, Task
from lab.training.snapshots import load_weights, pack, unpack
from lab.training.trainer import ModelTrainer

BATCH, EPOCHS, DECAY = 8, 5, 0.8


class Small(Task):
    """A net with batch norm, whose epoch is one step."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed({"train": 0, "valid": 1, "test": 2}[split])
        y = torch.arange(BATCH) % 2
        return torch.randn(len(y), 4, generator=generator) + y[:, None], y


def _trainer(path: str, decay: float | None = DECAY) -> ModelTrainer:
    return ModelTrainer(Small(), Training({"kind": "adamw"}, BATCH, path, ema_decay=decay), 2, {})


def _assignment(slot: int, schedule: Schedule | None = None, keep: bool = True) -> Assignment:
    trial = Trial({}, slot + 3, EPOCHS, own_schedule=schedule or OneCycle(max_lr=0.05), keep=keep)
    return Assignment(slot, trial, slot, 0)


def _weights(trainer: ModelTrainer, slot: int) -> dict[str, Tensor]:
    tensors = trainer.save(slot)[0]
    return {n.removeprefix("model/"): t.clone() for n, t in tensors.items() if n.startswith("model/")}


@pytest.mark.parametrize("path", ["stacked", "vmap", "sequential"])
def test_it_is_pytorchs_of_each_trial_of_a_stack(path: str):
    trainer = _trainer(path)
    nets = [Small().model({}) for _ in range(2)]
    expected = [
        AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)  # type: ignore[no-untyped-call]
        for net in nets
    ]
    for slot in range(2):
        trainer.start(_assignment(slot))
    files: dict[str, bytes] = {}
    for _ in range(EPOCHS):
        results = trainer.epoch()
        for slot, (net, average) in enumerate(zip(nets, expected, strict=True)):
            weights = _weights(trainer, slot) if slot in trainer._slots else {}
            net.load_state_dict(weights)
            average.update_parameters(net)
        for result in results:
            files |= result.files
    assert sorted(files) == [f"final/000{trial}-{index}.safetensors" for trial in range(2) for index in range(2)]
    for slot, (net, average) in enumerate(zip(nets, expected, strict=True)):
        last = unpack(files[f"final/000{slot}-0.safetensors"], "last")
        assert all(torch.equal(last[name], tensor) for name, tensor in net.state_dict().items())
        ours = unpack(files[f"final/000{slot}-1.safetensors"], "average")
        for name, tensor in average.module.state_dict().items():
            if tensor.is_floating_point():
                torch.testing.assert_close(ours[name], tensor)
        assert not torch.allclose(ours["0.weight"], last["0.weight"], atol=1e-4)
        assert torch.equal(ours["1.num_batches_tracked"], last["1.num_batches_tracked"])


@pytest.mark.parametrize("path", ["stacked", "sequential"])
def test_a_trial_that_goes_on_from_a_checkpoint_has_the_same_average(path: str):
    def files_of(trainer: ModelTrainer, epochs: int) -> dict[str, bytes]:
        return {name: content for _ in range(epochs) for r in trainer.epoch() for name, content in r.files.items()}

    straight = _trainer(path)
    straight.start(_assignment(1))
    expected = files_of(straight, EPOCHS)
    first, second = _trainer(path), _trainer(path)
    first.start(_assignment(1))
    files_of(first, 2)
    tensors, meta = first.save(1)
    second.restore(_assignment(1), unpack(pack(tensors), "x"), json.loads(json.dumps(meta)))
    assert files_of(second, EPOCHS - 2) == expected


@pytest.mark.parametrize(
    ("schedule", "keep", "decay", "indices"),
    [
        (None, True, None, [0]),
        (None, False, DECAY, []),
        (Snapshot(max_lr=0.05, cycles=2), True, DECAY, [0, 1]),
    ],
    ids=["not asked for", "a trial of the search", "several cycles"],
)
def test_nothing_more_is_kept_where_there_is_no_average(
    schedule: Schedule | None, keep: bool, decay: float | None, indices: list[int]
):
    trainer = _trainer("stacked", decay)
    trainer.start(_assignment(0, schedule, keep))
    assert not [name for name in trainer.save(0)[0] if name.startswith("averaged/")]
    files = [name for _ in range(EPOCHS) for result in trainer.epoch() for name in result.files]
    assert files == [f"final/0000-{index}.safetensors" for index in indices]


def test_it_is_a_snapshot_like_any_other(tmp_path: Any):
    trainer = _trainer("stacked")
    trainer.start(_assignment(0))
    files = {name: content for _ in range(EPOCHS) for r in trainer.epoch() for name, content in r.files.items()}
    (tmp_path / "average.safetensors").write_bytes(files["final/0000-1.safetensors"])
    net = Small().model({}).eval()
    load_weights(net, tmp_path / "average.safetensors")
    x, y = Small().data("valid")
    assert float((net(x).argmax(dim=1) == y).float().mean()) > 0.5
