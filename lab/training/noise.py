"""Randomness that belongs to a slot: the same whether its trial runs alone or among others.

A counter-free bit generator per trial (SFC64) gives shuffles and dropout masks; 16 bits per element make a mask
some ten times cheaper than PyTorch's Bernoulli kernel, and a dropout rate exact to 1/65536.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class SlotNoise:
    """One trial's stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.SFC64(seed)
        self.generator = np.random.Generator(self._bits)
        """The stream behind NumPy's interface; what it draws moves the stream on."""

    def permutation(self, n: int) -> Tensor:
        """A shuffle of 0..n-1, int64 [n]."""
        return torch.from_numpy(self.generator.permutation(n))

    def keep(self, out: np.ndarray[Any, np.dtype[np.bool_]], rate: float) -> None:
        """Fill a mask [n]: each element is kept with probability 1 - rate."""
        words = self._bits.random_raw((out.size + 3) // 4)
        np.less(words.view(np.uint16)[: out.size], _threshold(rate), out=out)

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


def dropout_mask(noise: Sequence[SlotNoise | None], rates: Sequence[float], n: int, like: Tensor) -> Tensor:
    """Factors [k, n] for dropout with a rate per slot: 0 where dropped, 1/(1 - rate) where kept."""
    keep = np.ones((len(noise), n), dtype=np.bool_)
    scale = torch.ones(len(noise), 1, dtype=like.dtype)
    for slot, (stream, rate) in enumerate(zip(noise, rates, strict=True)):
        if stream is not None and rate > 0:
            stream.keep(keep[slot], rate)
            scale[slot] = 65536 / max(_threshold(rate), 1)
    return torch.from_numpy(keep).to(like.device) * scale.to(like.device)
