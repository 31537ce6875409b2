"""Nets for pairs of a user and an item: a dot product of embeddings with biases, or layers above the embeddings.

Shapes: b examples, f factors. Inputs are codes [b, 2], of the user and of the item; outputs are ratings [b, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

_STD = 0.1
"""The standard deviation of an embedding's first numbers: small, so that training begins at the mean."""


class Squashed(nn.Module):
    """Outputs between two ends that they approach and never leave, as ratings are.

    Args:
        low, high: the ends.
    """

    low: Tensor
    span: Tensor

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("span", torch.tensor(high - low))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.low + self.span * torch.sigmoid(x)
        return output


class EmbeddingOrMean(nn.Module):
    """An embedding of codes from 1 on [b] to [b, f]; code 0 is the mean of all."""

    def __init__(self, levels: int, factors: int, std: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(levels, factors)
        nn.init.normal_(self.embedding.weight, std=std)

    def forward(self, codes: Tensor) -> Tensor:
        trained = (codes > 0).to(self.embedding.weight.dtype)[:, None]
        mean = self.embedding.weight.mean(dim=0, keepdim=True)
        own: Tensor = self.embedding((codes - 1).clamp(min=0))
        return trained * own + (1 - trained) * mean


class DotProduct(nn.Module):
    """mean + user's bias + item's bias + user . item, squashed (Koren, Bell and Volinsky 2009, eq. 4)."""

    def __init__(
        self, users: int, items: int, factors: int, dropout: float, mean: float, ends: tuple[float, float]
    ) -> None:
        super().__init__()
        low, high = ends
        self.users, self.items = EmbeddingOrMean(users, factors, _STD), EmbeddingOrMean(items, factors, _STD)
        self.user_bias, self.item_bias = EmbeddingOrMean(users, 1, 0.0), EmbeddingOrMean(items, 1, 0.0)
        self.mean = nn.Parameter(torch.tensor([math.log((mean - low) / (high - mean))]))
        self.dropout, self.squashed = nn.Dropout(dropout), Squashed(low, high)

    def forward(self, x: Tensor) -> Tensor:
        user, item = x[:, 0], x[:, 1]
        both = self.dropout(self.users(user) * self.items(item)).sum(dim=1, keepdim=True)
        output: Tensor = self.squashed(self.mean + self.user_bias(user) + self.item_bias(item) + both)
        return output


class EmbeddingNet(nn.Module):
    """Both embeddings side by side, then Linear - ReLU - BatchNorm - Dropout per hidden layer, squashed."""

    def __init__(
        self,
        users: int,
        items: int,
        factors: int,
        layers: Sequence[int],
        dropout: float,
        ends: tuple[float, float],
    ) -> None:
        super().__init__()
        self.users, self.items = EmbeddingOrMean(users, factors, _STD), EmbeddingOrMean(items, factors, _STD)
        hidden: list[nn.Module] = []
        for inputs, width in pairwise([2 * factors, *layers]):
            hidden += [nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*hidden, nn.Linear(layers[-1], 1))
        self.squashed = Squashed(*ends)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.squashed(self.layers(torch.cat([self.users(x[:, 0]), self.items(x[:, 1])], dim=1)))
        return output
