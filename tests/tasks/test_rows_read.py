"""Rows that come in batches are one tensor in the end, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lab.errors import TaskError
from lab.tasks import mapped
from lab.tasks.rows_read import RowsRead, content_of


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda size: monkeypatch.setattr(mapped, "room_bytes", lambda: size)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("size", [0, 10**9], ids=["in a file", "in memory"])
def test_rows_that_came_in_batches_are_one_tensor(size: int, dtype: torch.dtype, memory: Callable[[int], None]):
    memory(size)
    values = (100 * torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(0))).to(dtype)
    rows = RowsRead()
    for batch in torch.split(values, 7):
        rows.add(batch.transpose(1, 2).contiguous().transpose(1, 2))  # in any layout
    assert torch.equal(rows.whole(), values)
    assert rows.count == 50


def test_targets_without_a_shape_are_rows_too(memory: Callable[[int], None]):
    memory(0)
    rows = RowsRead()
    for batch in torch.split(torch.arange(10), 4):
        rows.add(batch)
    assert rows.whole().tolist() == [*range(10)]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.zeros(1, 3), r"rows have several shapes, \(2,\) and \(3,\) among them; make them alike"),
        (torch.zeros(1, 2, dtype=torch.int64), r"rows have several types, torch.float32 and torch.int64 among them"),
    ],
)
def test_rows_that_differ_are_refused(other: torch.Tensor, message: str):
    rows = RowsRead()
    rows.add(torch.zeros(4, 2))
    with pytest.raises(TaskError, match=message):
        rows.add(other)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(np.arange(5, dtype=np.float32)[:, None]),
        torch.from_numpy(np.arange(1, dtype=np.float32)[:, None]),
        torch.as_strided(torch.arange(3.0), (1, 1), (0, 0)),
        torch.arange(6).view(2, 3).T,
        torch.zeros(0, 3),
        torch.tensor(2.5),
    ],
)
def test_the_bytes_of_a_tensor_are_those_of_its_numbers_in_order(tensor: torch.Tensor):
    """Whatever its strides: those of one row or one column may be anything."""
    assert bytes(content_of(tensor)) == tensor.numpy().tobytes()
