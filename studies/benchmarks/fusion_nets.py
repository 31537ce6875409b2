"""The nets that fused lanes are measured with: tasks of random data, which cost what real data of that shape costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.tasks.digits import Digits
from lab.tasks.task import Data, Split, Task

CLASSES = 10


class Random(Task):
    """A net on random inputs."""

    def __init__(self, net: Callable[[], nn.Module], inputs: Callable[[int], Tensor], examples: int) -> None:
        self._net = net
        x = inputs(examples)
        y = torch.arange(examples) % CLASSES
        self._splits = {"train": (x, y), "valid": (x[:256], y[:256])}

    def data(self, split: Split) -> Data:
        return self._splits[split]

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self._net()


def mlp(*sizes: int) -> nn.Module:
    """Linear, batch norm, ReLU, dropout .2; the last layer by itself."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class Tabular(nn.Module):
    """Three columns of codes with an embedding each, eight of numbers, two hidden layers."""

    codes = (20, 40, 60)

    def __init__(self) -> None:
        super().__init__()
        widths = (6, 8, 10)
        self.embeddings = nn.ModuleList([nn.Embedding(n, w) for n, w in zip(self.codes, widths, strict=True)])
        self.dropout = nn.Dropout(0.1)
        self.norm = nn.BatchNorm1d(8)
        self.layers = mlp(sum(widths) + 8, 128, 88, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        codes = x[:, :3].long()
        parts = [embedding(codes[:, i]) for i, embedding in enumerate(self.embeddings)]
        out: Tensor = self.layers(torch.cat([self.dropout(torch.cat(parts, 1)), self.norm(x[:, 3:])], 1))
        return out


def _table(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    codes = [torch.randint(k, (n, 1), generator=generator).float() for k in Tabular.codes]
    return torch.cat([*codes, torch.randn(n, 8, generator=generator)], 1)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.short(x))


class ResNet(nn.Module):
    """For 32x32 images: (16, 32, 64) with one block each is ResNet-8; (64, 128, 256, 512) with two is ResNet-18."""

    def __init__(self, channels: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        stages: list[nn.Module] = []
        inputs = channels[0]
        for stage, outputs in enumerate(channels):
            for block in range(blocks):
                stages.append(Block(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.stages(F.relu(self.bn(self.conv(x)))).mean((2, 3)))
        return out


class Layer(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.heads = heads

    def forward(self, h: Tensor) -> Tensor:
        b, t, width = h.shape
        parts = self.qkv(self.norm1(h)).view(b, t, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        h = h + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, width))
        out: Tensor = h + self.mlp(self.norm2(h))
        return out


class Transformer(nn.Module):
    """Four layers of attention and perceptron, norms first, over 32 tokens of 64 words."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(64, width)
        self.places = nn.Parameter(torch.randn(32, width) * 0.02)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layers(self.words(x) + self.places)
        out: Tensor = self.head(self.norm(h).mean(1))
        return out


def _normal(*shape: int) -> Callable[[int], Tensor]:
    return lambda n: torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


def _words(n: int) -> Tensor:
    return torch.randint(64, (n, 32), generator=torch.Generator().manual_seed(0))


NETS: dict[str, Callable[[], Random]] = {
    "mlp-3.6k": lambda: Random(lambda: mlp(64, 32, 32, CLASSES), _normal(64), 1024),
    "mlp-27k": lambda: Random(lambda: mlp(64, 128, 128, CLASSES), _normal(64), 1024),
    "tabular-18k": lambda: Random(Tabular, _table, 1024),
    "cnn-16k": lambda: Random(lambda: Digits("cnn").model({}), _normal(1, 8, 8), 512),
    "resnet-78k": lambda: Random(lambda: ResNet((16, 32, 64), 1), _normal(3, 32, 32), 256),
    "transformer": lambda: Random(Transformer, _words, 256),
    "resnet-18": lambda: Random(lambda: ResNet((64, 128, 256, 512), 2), _normal(3, 32, 32), 256),
}
