"""Rows of tensors, as they come from a user's data set: joined in memory, or in a mapped file where they are many.

Shapes: n rows, b rows of a batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from lab.errors import TaskError
from lab.tasks.mapped import most_in_memory, new_file


def content_of(tensor: Tensor) -> memoryview:
    """The bytes of a tensor, in the order of its numbers; not copied where they lie so already."""
    flat = tensor.detach().cpu().contiguous().flatten()
    # One number alone may have a stride of 0 still, which has no view as bytes.
    return (
        (flat if flat.numel() > 1 else flat.clone(memory_format=torch.contiguous_format)).view(torch.uint8).numpy().data
    )


class RowsRead:
    """Rows that come in batches [b, ...] and of which nobody has said how many they are.

    Args:
        folder: on whose disk they lie where they are many; None: that of temporary files.

    >>> rows = RowsRead()
    >>> rows.add(torch.arange(4).view(2, 2))
    >>> rows.add(torch.arange(2).view(1, 2))
    >>> rows.whole().tolist()
    [[0, 1], [2, 3], [0, 1]]
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._batches: list[Tensor] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._folder = folder
        self._most = most_in_memory()
        self._kind: tuple[tuple[int, ...], torch.dtype] | None = None
        self.count = 0

    def add(self, batch: Tensor) -> None:
        """Put rows behind those that are there.

        Raises:
            TaskError: they are of another shape or type.
        """
        kind = tuple(batch.shape[1:]), batch.dtype
        for own, other, things in zip(self._kind or kind, kind, ("shapes", "types"), strict=True):
            if own != other:
                raise TaskError(f"rows have several {things}, {own} and {other} among them; make them alike")
        self._kind = kind
        self.count += len(batch)
        self._bytes += batch.numel() * batch.element_size()
        self._batches.append(batch)
        if self._file is None and self._bytes > self._most:
            self._file = new_file(self._folder, named=False)
        if self._file is not None:
            for waiting in self._batches:
                self._file.write(content_of(waiting))
            self._batches.clear()

    def whole(self) -> Tensor:
        """All rows [n, ...]."""
        if self._file is None:
            return torch.cat(self._batches)
        assert self._kind is not None  # there is a file since rows came
        shape, dtype = self._kind
        self._file.flush()
        content = torch.from_numpy(np.memmap(self._file, dtype=np.uint8, mode="r+"))
        self._file.close()  # the mapping keeps it
        return content.view(dtype).view(self.count, *shape)
