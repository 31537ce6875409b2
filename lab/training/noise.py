"""Randomness that belongs to a slot: the same whether its trial runs alone or among others.

A counter-free bit generator per trial (SFC64) gives shuffles and dropout masks; 16 bits per element make a mask
some ten times cheaper than PyTorch's Bernoulli kernel, and a dropout rate exact to 1/65536.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab.training.device import to_device


class SlotNoise:
    """One trial's stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.SFC64(seed)
        self.generator = np.random.Generator(self._bits)
        """The stream behind NumPy's interface; what it draws moves the stream on."""

    def permutation(self, n: int) -> Tensor:
        """A shuffle of 0..n-1, int64 [n]."""
        return torch.from_numpy(self.generator.permutation(n))

    def words(self, n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The next n words of 64 random bits."""
        return self._bits.random_raw(n)

    def state(self) -> dict[str, Any]:
        """The stream's position, as JSON can hold it."""
        state = self._bits.state
        return {**dict(state), "state": {"state": [int(word) for word in state["state"]["state"]]}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a position that `state` gave."""
        words = np.array(state["state"]["state"], dtype=np.uint64)
        self._bits.state = dict(state) | {"state": {"state": words}}  # type: ignore[assignment]


def _threshold(rate: float) -> int:
    if rate >= 1:
        return 0
    return min(max(round((1 - rate) * 65536), 1), 65535)


@lru_cache(maxsize=256)
def _thresholds(rates: tuple[float, ...]) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.array([_threshold(rate) for rate in rates], dtype=np.uint16)[:, None]


@lru_cache(maxsize=256)
def _scales(rates: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    factors = [65536 / max(_threshold(rate), 1) if rate > 0 else 1.0 for rate in rates]
    return torch.tensor(factors, dtype=dtype, device=device)


class MaskBuffer:
    """Draws dropout masks of one size into memory that it keeps: fresh memory costs more than what is written to it."""

    def __init__(self, width: int, n: int, like: Tensor) -> None:
        count = (n + 3) // 4
        self._words = np.zeros((width, count), dtype=np.uint64)
        self._keep = np.empty((width, n), dtype=np.bool_)
        dtype = torch.promote_types(like.dtype, torch.float32)  # a scale rounded to bfloat16 would move the mean
        self._mask = torch.empty(width, n, dtype=dtype, device=like.device)

    def draw(self, noise: Sequence[SlotNoise | None], rates: Sequence[float]) -> tuple[Tensor, Tensor]:
        """What is kept, ones and zeros [k, n], and what it is multiplied by so that the mean stays [k].

        An empty slot keeps everything. The mask is overwritten by the next draw.
        """
        active = tuple(0.0 if stream is None else rate for stream, rate in zip(noise, rates, strict=True))
        for row, stream, rate in zip(self._words, noise, active, strict=True):
            if stream is None or rate <= 0:
                row.fill(0)
            else:
                row[:] = stream.words(len(row))
        np.less(self._words.view(np.uint16)[:, : self._keep.shape[1]], _thresholds(active), out=self._keep)
        # As bytes: converting booleans takes five times as long.
        self._mask.copy_(to_device(torch.from_numpy(self._keep.view(np.uint8)), self._mask.device))
        return self._mask, _scales(active, self._mask.dtype, self._mask.device)


def dropout_mask(noise: Sequence[SlotNoise | None], rates: Sequence[float], n: int, like: Tensor) -> Tensor:
    """Factors [k, n] for dropout with a rate per slot: 0 where dropped, 1/(1 - rate) where kept."""
    keep, scale = MaskBuffer(len(noise), n, like).draw(noise, rates)
    return keep.mul_(scale[:, None])
