"""Nets from tokens to logits. They are written so that many of them train as one.

Shapes: b texts, t tokens, e numbers of an embedding, c classes or labels. Codes [b, t] of 0 fill up shorter texts.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STD = 0.1
"""The standard deviation of an embedding's first numbers."""
_WINDOWS = (3, 4, 5)
_FAR = -1e4
"""What attention adds to where no token is; below the logarithm of what half precision can hold."""


class Embedded(nn.Module):
    """Tokens' embeddings [b, t, e]; zeros where there is no token."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=_STD)
        with torch.no_grad():
            self.embedding.weight[0] = 0

    def forward(self, codes: Tensor) -> Tensor:
        out: Tensor = self.embedding(codes)
        return out


def mean_of_tokens(x: Tensor, there: Tensor) -> Tensor:
    """The mean [b, e] of what stands for tokens [b, t, e]; 0 of a text without any.

    Args:
        there: 1 where there is a token, else 0, [b, t].
    """
    return (x * there[:, :, None]).sum(dim=1) / there.sum(dim=1, keepdim=True).clamp(min=1.0)


def head(features: int, classes: int, dropout: float, hidden: int) -> nn.Sequential:
    """From features [b, f] to logits [b, c]: dropout and a linear layer; with `hidden` units another one before it."""
    layers: dict[str, nn.Module] = {}
    if hidden:
        layers |= {"linear0": nn.Linear(features, hidden), "relu": nn.ReLU()}
    layers |= {"dropout": nn.Dropout(dropout), "linear": nn.Linear(hidden or features, classes)}
    return nn.Sequential(OrderedDict(layers))


class Bag(nn.Module):
    """The mean of the tokens' embeddings, whatever their order (Joulin et al. 2017, without its n-grams)."""

    def __init__(self, size: int, classes: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedded = Embedded(size, width)
        self.head = head(width, classes, dropout, hidden)

    def forward(self, codes: Tensor) -> Tensor:
        there = (codes > 0).to(self.embedded.embedding.weight.dtype)
        logits: Tensor = self.head(mean_of_tokens(self.embedded(codes), there))
        return logits


class Convolutions(nn.Module):
    """The strongest answer of filters over 3, 4 and 5 tokens anywhere in the text (Kim 2014)."""

    def __init__(self, size: int, classes: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedded = Embedded(size, width)
        self.filters = nn.ModuleList(nn.Conv1d(width, width, window, padding=window // 2) for window in _WINDOWS)
        self.head = head(len(_WINDOWS) * width, classes, dropout, hidden)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.embedded(codes).transpose(1, 2)
        strongest = [F.relu(filters(x)).amax(dim=2) for filters in self.filters]
        logits: Tensor = self.head(torch.cat(strongest, dim=1))
        return logits


class _Block(nn.Module):
    """Attention, then a layer for each token by itself; what goes into either is normalised (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norm0, self.norm1 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.mixed = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout0, self.dropout1 = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor, far: Tensor) -> Tensor:
        y = self.norm0(x)
        queries, keys, values = self._apart(self.queries(y)), self._apart(self.keys(y)), self._apart(self.values(y))
        scores = queries @ keys.transpose(2, 3) * self.size**-0.5 + far
        heard = (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)
        x = x + self.dropout0(self.mixed(heard))
        out: Tensor = x + self.dropout1(self.narrow(F.gelu(self.wide(self.norm1(x)))))
        return out

    def _apart(self, x: Tensor) -> Tensor:
        """[b, t, e] to [b, heads, t, e / heads]."""
        return x.view(x.shape[0], x.shape[1], self.heads, self.size).transpose(1, 2)


class Transformer(nn.Module):
    """An encoder with learned positions, and the mean of what it makes of the tokens (Vaswani et al. 2017)."""

    def __init__(
        self, size: int, length: int, classes: int, width: int, layers: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedded = Embedded(size, width)
        self.positions = nn.Parameter(torch.randn(length, width) * _STD)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = head(width, classes, dropout, hidden)

    def forward(self, codes: Tensor) -> Tensor:
        there = (codes > 0).to(self.positions.dtype)
        far = (1 - there)[:, None, None, :] * _FAR
        x = self.embedded(codes) + self.positions
        for block in self.blocks:
            x = block(x, far)
        logits: Tensor = self.head(mean_of_tokens(self.norm(x), there))
        return logits
