"""From compact inputs to all that the net takes, batch by batch: indicators of missing numbers, and bins.

Shapes: c categories, m numbers, q bins of a number; anything before the last dimension.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from lab.tasks.table.columns import Column
from lab.tasks.table.encoding import MISSING, Form, categories_of, numbers_of


class Expansion:
    """Makes of what `encode` gave compact what it gives otherwise, but for rounding."""

    def __init__(self, columns: tuple[Column, ...], device: torch.device) -> None:
        numbers = numbers_of(columns)
        self._width = Form(columns).width
        self._codes = len(categories_of(columns))
        self._plain = self._codes + len(numbers)
        indicated = [i for i, number in enumerate(numbers) if number.missing]
        self._indicated = torch.tensor(indicated, device=device, dtype=torch.long)
        filled = [(number.median - number.mean) / number.std for number in numbers]
        self._filled = torch.tensor(filled, device=device)
        # Neighbours that have as many bins are one operation; to gather each bin's number takes ten times as long.
        counts = [number.bins for number in numbers if number.bins]
        self._runs = [_Run(bins, len([*run]), device) for bins, run in groupby(counts)]

    def __call__(self, x: Tensor) -> Tensor:
        made = x.new_empty(*x.shape[:-1], self._width)
        made[..., : self._codes] = x[..., : self._codes]
        numbers = x[..., self._codes : self._plain]
        missing = numbers == MISSING
        torch.where(missing, self._filled, numbers, out=made[..., self._codes : self._plain])
        at, column = self._plain + len(self._indicated), self._plain
        if len(self._indicated):
            made[..., self._plain : at] = missing.index_select(-1, self._indicated)
        for run in self._runs:
            end = at + run.numbers * run.bins
            bins = made[..., at:end].view(*x.shape[:-1], run.numbers, run.bins)
            torch.sub(x[..., column : column + run.numbers, None], run.start, out=bins)
            bins.clamp_(run.low, run.high)
            at, column = end, column + run.numbers
        return made


class _Run:
    """Numbers beside each other with as many bins, and between what the filling of each bin stays [q]."""

    def __init__(self, bins: int, numbers: int, device: torch.device) -> None:
        self.bins, self.numbers = bins, numbers
        self.start = torch.arange(bins, dtype=torch.float32, device=device)
        self.low, self.high = torch.zeros(bins, device=device), torch.ones(bins, device=device)
        self.low[0], self.high[-1] = -1.0, 2.0  # the outer ones go beyond
