"""Data sets and loaders as PyTorch's users have them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lab.errors import TaskError
from lab.tasks import mapped, rows_read
from lab.tasks.checks import check_data, check_task
from lab.tasks.task import Task

X, Y = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 2


class DataTask(Task):
    """Whatever data it is made with."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(4, 2)

    def data(self, split: Any) -> Any:
        return self._content


class _Mapped(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return X[index], int(Y[index])


class _Named(_Mapped):
    def __getitem__(self, index: int) -> Any:
        return {"pixels": X[index], "label": int(Y[index])}


class _Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return zip(X, Y.tolist(), strict=True)


class _Broken(_Mapped):
    def __getitem__(self, index: int) -> Any:
        if index == 270:
            raise OSError("disk gone")
        return super().__getitem__(index)


class _Ragged(_Mapped):
    def __getitem__(self, index: int) -> Any:
        return X[index, : 4 if index < 256 else 3], 0


class _Empty(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize(
    "content",
    [(X, Y), TensorDataset(X, Y), _Mapped(), _Named(), _Stream(), DataLoader(_Mapped(), batch_size=7)],
    ids=["tensors", "tensor set", "map", "named", "stream", "loader"],
)
def test_every_form_gives_the_same_tensors(content: Any):
    x, y = DataTask(content).data("train")
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    check_task(DataTask(content), {})


def test_a_loader_that_shuffles_gives_the_order_of_its_data_set():
    """Each lane reads for itself, and all must see the same."""
    task = DataTask(DataLoader(TensorDataset(X, Y), batch_size=32, shuffle=True, drop_last=True))
    assert torch.equal(task.data("train")[0], X)


def test_what_a_subclass_makes_of_it_stays():
    class Doubled(DataTask):
        def data(self, split: Any) -> Any:
            x, y = super().data(split)
            return 2 * x, y

    task = Doubled(_Mapped())
    assert all(torch.equal(task.data("valid")[0], 2 * X) for _ in range(2))


def test_what_was_read_does_not_travel_with_the_task():
    task = DataTask(TensorDataset(X, Y))
    before = len(pickle.dumps(task))
    task.data("train")
    assert len(pickle.dumps(task)) < before + 200
    assert torch.equal(pickle.loads(pickle.dumps(task)).data("train")[0], X)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_Empty(), r"DataTask\.data\('train'\): gives no example"),
        (_Broken(), r"DataTask\.data\('train'\): reading stopped after 256 examples \(disk gone\)"),
        (_Ragged(), r"rows have several shapes, \(4,\) and \(3,\) among them; make them alike"),
        (TensorDataset(X), r"must give pairs of an input and a target"),
        (DataLoader(_Broken(), num_workers=1, batch_size=64), r"reading stopped after 256 examples \("),
    ],
    ids=["empty", "breaks", "ragged", "alone", "worker"],
)
def test_what_cannot_be_read_is_said_in_a_line(content: Any, message: str):
    with pytest.raises(TaskError, match=message):
        check_data(DataTask(content), "train")


def test_what_is_large_lies_on_the_disk_of_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And leaves nothing there."""
    asked: list[Any] = []
    monkeypatch.setattr(mapped, "room_bytes", lambda: 100)
    real = rows_read.new_file
    monkeypatch.setattr(rows_read, "new_file", lambda folder, named: asked.append(folder) or real(folder, named))
    task = DataTask(_Mapped())
    task.cache = tmp_path / "data"
    x, y = task.data("train")
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    assert asked == [tmp_path / "data"] * 2
    assert not [*(tmp_path / "data").iterdir()]
