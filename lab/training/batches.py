"""A split's examples where a lane can reach them: on its device where they fit, else on the host, fetched ahead.

Shapes: k slots, b examples of a batch, n examples of the split, s optimizer steps of an epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from lab.spec.plan import Training
from lab.tasks.task import TRAIN_AND_VALID, Data, Split, Task, joined
from lab.training.accelerator import free_bytes
from lab.training.device import to_device

T = TypeVar("T")

_SHARE = 0.25
"""Fraction of free device memory that one split's inputs may use: there are two splits, models, and other lanes."""
_AHEAD = 2
"""Batches that are being made ready while one is trained on."""

_NOT_SELECTED = (torch.uint16, torch.uint32, torch.uint64)
"""What PyTorch can index, but has no `index_select` for."""


class Examples:
    """A split on its way to the device; the same batches wherever it lies.

    Args:
        data: inputs [n, ...] and targets [n, ...]; on the host they are left as they are, mapped from a file for
            instance.
        resident: whether inputs lie on the device as a whole; None: where they fit.
    """

    def __init__(self, data: Data, device: torch.device, resident: bool | None = None) -> None:
        x, y = data
        self.resident = fits(x, device) if resident is None else resident
        self._device = device
        self._x = x.to(device) if self.resident else x
        self.y = y.to(device)
        """All targets, [n, ...]: metrics are of a whole split."""

    def __len__(self) -> int:
        return len(self._x)

    def first(self, count: int) -> Tensor:
        """The first inputs [count, ...]."""
        return to_device(self._x[:count], self._device)

    def some(self, rows: Tensor) -> Tensor:
        """The inputs [b, ...] of these rows [b]."""
        return to_device(self._x[rows.to(self._x.device)], self._device)

    def batches(self, order: Tensor, size: int) -> Iterator[Data]:
        """Inputs [k, b, ...] and targets [k, b, ...] of each step, for an order of examples [k, s * b]."""
        whole = order[:, : order.shape[1] // size * size]
        yield from ((x, _rows(self.y, rows)) for x, rows in self._gathered(whole, size))

    def of_each(self, order: Tensor, size: int) -> Iterator[Tensor]:
        """Inputs [k, b, ...] for an order of examples [k, n], `size` at a time and the rest at last."""
        yield from (x for x, _ in self._gathered(order, size))

    def _gathered(self, order: Tensor, size: int) -> Iterator[Data]:
        """Inputs [k, b, ...] for an order of examples [k, n], and where on the device they lie [k, b]."""
        there, here = (torch.split(o, size, dim=1) for o in (order.to(self._device), order))
        if self.resident:
            yield from ((_rows(self._x, rows), rows) for rows in there)
        else:
            gathered = _ahead(lambda step: to_device(_rows(self._x, here[step]), self._device), len(here))
            yield from zip(gathered, there, strict=True)

    def parts(self, size: int) -> Iterator[Tensor]:
        """All inputs in their order, `size` at a time."""
        starts = range(0, len(self), size)
        if self.resident:
            yield from (self._x[start : start + size] for start in starts)
        else:
            yield from _ahead(lambda i: to_device(self._x[starts[i] : starts[i] + size], self._device), len(starts))


def open_splits(task: Task, device: torch.device, training: Training) -> dict[Split, Examples]:
    """What is trained and validated on; the validation rows follow the training rows where both may be trained on."""
    data = {split: task.data(split) for split in TRAIN_AND_VALID}
    if training.with_valid or training.folds is not None:
        data["train"] = joined(data.values())
    return {split: Examples(of_split, device) for split, of_split in data.items()}


def fits(x: Tensor, device: torch.device) -> bool:
    """Whether inputs may lie on a device as a whole; on the host itself they do already."""
    return device.type == "cpu" or x.numel() * x.element_size() <= _SHARE * free_bytes(device)


def _rows(values: Tensor, rows: Tensor) -> Tensor:
    """`values[rows]`, [k, b, ...] of [n, ...]: on a CPU up to six times as fast, as rows are copied whole."""
    if not values.is_contiguous() or values.dtype in _NOT_SELECTED:  # the order of channels, for one, is kept then
        return values[rows]
    return values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])


def _ahead(make: Callable[[int], T], count: int) -> Iterator[T]:
    """`make(0)`, ..., `make(count - 1)`, each begun in another thread while those before it are used."""
    with ThreadPoolExecutor(1, "feed") as pool:
        waiting: deque[Future[T]] = deque(pool.submit(make, i) for i in range(min(_AHEAD, count)))
        for following in range(_AHEAD, count + _AHEAD):
            if not waiting:
                return
            batch = waiting.popleft().result()
            if following < count:
                waiting.append(pool.submit(make, following))
            yield batch
