"""The net for tables: embedded categories beside batch-normalised numbers, then linear layers (fastai's TabularModel).

Shapes: b examples, c categories, m numbers, o outputs. One input holds both: [b, c + m], codes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def embedding_size(levels: int) -> int:
    """Width of a category's embedding, min(50, (n + 1) // 2) for n levels, the unknown one among them."""
    return min(50, (levels + 1) // 2)


class TableNet(nn.Module):
    """Embeddings, then Linear - ReLU - BatchNorm - Dropout per hidden layer.

    Args:
        levels: of each category, the unknown one (code 0) among them.
        numbers: m.
        outputs: o.
        layers: widths of the hidden layers.
        bounds: low and high of each output, approached and never left, None for one that is free; None: all are free.
        mask: [m] of 1 and 0, which numbers are used; None: all. Nets that differ in nothing else are trained as one.
    """

    low: Tensor
    span: Tensor
    mask: Tensor
    free: Tensor

    def __init__(
        self,
        levels: Sequence[int],
        numbers: int,
        outputs: int,
        layers: Sequence[int],
        dropout: float,
        embedding_dropout: float,
        bounds: Sequence[tuple[float, float] | None] | None = None,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.categories = len(levels)
        self.numbers = numbers
        self.embeddings = nn.ModuleList(_embedding(n) for n in levels)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.norm = nn.BatchNorm1d(numbers) if numbers else None
        sizes = [sum(embedding_size(n) for n in levels) + numbers, *layers]
        hidden: list[nn.Module] = []
        for inputs, width in pairwise(sizes):
            hidden += [nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))
        self.masked = mask is not None
        if mask is not None:
            self.register_buffer("mask", mask)
            _widen(next(self.layers.parameters()), int((mask == 0).sum()))
        self.bounded, self.partly = bounds is not None, False
        if bounds is not None:
            ends = [(0.0, 0.0) if pair is None else pair for pair in bounds]
            low, high = (torch.tensor(end, dtype=torch.float32) for end in zip(*ends, strict=True))
            self.register_buffer("low", low)
            self.register_buffer("span", high - low)
            self.partly = None in bounds
            if self.partly:
                self.register_buffer("free", torch.tensor([float(pair is None) for pair in bounds]))

    def forward(self, x: Tensor) -> Tensor:
        """Logits or values [b, o] for inputs [b, c + m]."""
        parts = []
        if self.categories:
            codes = x[:, : self.categories].long()
            embedded = [embedding(codes[:, i]) for i, embedding in enumerate(self.embeddings)]
            parts.append(self.embedding_dropout(torch.cat(embedded, dim=1)))
        if self.norm is not None:
            normed = self.norm(x[:, self.categories :])
            parts.append(normed * self.mask if self.masked else normed)
        output: Tensor = self.layers(torch.cat(parts, dim=1))
        if not self.bounded:
            return output
        within = self.low + self.span * torch.sigmoid(output)
        return within + self.free * output if self.partly else within


def _widen(weight: Tensor, unused: int) -> None:
    """Begin with weights [h, f] as large as those of a layer that has not the unused inputs."""
    inputs = weight.shape[1]
    with torch.no_grad():
        weight.mul_((inputs / (inputs - unused)) ** 0.5)


def _embedding(levels: int) -> nn.Embedding:
    embedding = nn.Embedding(levels, embedding_size(levels))
    with torch.no_grad():
        nn.init.trunc_normal_(embedding.weight, std=0.01, a=-0.02, b=0.02)
        embedding.weight[0] = 0.0  # a level nobody has seen is an average one
    return embedding
