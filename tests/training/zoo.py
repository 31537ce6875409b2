"""Models as users write them, each with the path that it should be trained on.

Shapes: b examples, f features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Animal:
    """A model [b, *shape] -> [b, 3], where it should run, and what is said of paths that are not open to it."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    path: str
    refused: dict[str, str] = field(default_factory=dict)
    by_vmap: tuple[str, ...] = ()
    codes: int = 0
    """Above 0: inputs are whole numbers below it."""


class Residual(nn.Module):
    """Two convolutions and a shortcut, a group norm, a concatenation of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm1, self.norm2 = nn.BatchNorm2d(4), nn.GroupNorm(2, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm2(self.two(F.relu(self.norm1(self.one(x)))))
        y += x
        return self.head(torch.cat([F.avg_pool2d(y, 2), F.max_pool2d(x, 2)], 1).mean((2, 3)))


class TwoInputs(nn.Module):
    """An image and two numbers, which come as one row of features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.numbers = nn.Conv2d(1, 4, 3), nn.Linear(2, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        image = self.conv(x[:, 2:].reshape(-1, 1, 4, 4)).relu().mean((2, 3))
        return self.head(torch.cat([image, torch.tanh(self.numbers(x[:, :2]))], dim=-1))


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder, read backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(6, 5), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.encoder(x))
        return self.head(F.linear(hidden, self.encoder.weight.t()))


class SharedLayers(nn.Module):
    """Parameters that are used several times, under one name and under two."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        return self.head(F.relu(self.norm(self.second(self.first(x)))))


class Buffers(nn.Module):
    """Constants of the model, and a statistic that it keeps itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(6))
        self.register_buffer("seen", torch.zeros(6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.seen.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return self.head((x - self.seen) * self.scale)


class WithAnIf(nn.Module):
    """Its forward asks for the shape of what it is given, and whether it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout, self.head = nn.Linear(6, 6), nn.Dropout(0.0), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 6:
            raise ValueError(f"{x.shape[1]} features")
        x = F.relu(self.layer(x))
        if self.training:
            x = self.dropout(x)
        return self.head(x)


class FunctionalDropout(nn.Module):
    """Dropout as a function, whose rate is an attribute of the model."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.layer, self.head, self.rate = nn.Linear(6, 6), nn.Linear(6, 3), rate

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(F.relu(self.layer(x)), p=self.rate, training=self.training))


class Steered(nn.Module):
    """Its forward depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class Attention(nn.Module):
    """PyTorch's own attention, norms first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return self.head((x + self.attention(h, h, h, need_weights=False)[0]).mean(1))


class WrittenAttention(nn.Module):
    """Attention as people write it, over tokens that are looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(7, 8), nn.Parameter(torch.randn(5, 8))
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x) + self.places
        b, t, width = h.shape
        q, k, v = self.qkv(self.norm(h)).view(b, t, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, width)
        return self.head((h + F.gelu(self.out(mixed))).mean(dim=1))


class Printing(nn.Module):
    """Prints, and counts its calls outside of itself."""

    calls: list[int] = []  # noqa: RUF012 - as a user might

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        print("forward")  # noqa: T201 - as a user might
        self.calls.append(len(x))
        return self.layer(x)


def _lazy() -> nn.Module:
    module = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(3))
    module(torch.zeros(2, 6))
    return module


def _sequence() -> nn.Module:
    layers = [nn.Conv1d(4, 6, 3, padding=1), nn.BatchNorm1d(6), nn.PReLU(6), nn.MaxPool1d(2)]
    return nn.Sequential(*layers, nn.ConvTranspose1d(6, 4, 2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))


def _normed() -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(6, 8), nn.LayerNorm(8), nn.PReLU(), nn.Linear(8, 8), nn.RMSNorm(8), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(8, 3, bias=False), nn.LogSoftmax(dim=1))


_NO_CONTROL_FLOW = r"torch.fx cannot trace it \(TraceError: symbolically traced variables cannot be used as inputs"
_NOT_AT_ONCE = "it cannot be run for all slots at once"

ZOO: dict[str, Animal] = {
    "residual": Animal(Residual, (1, 6, 6), "stacked"),
    "two inputs": Animal(TwoInputs, (18,), "stacked"),
    "tied": Animal(Tied, (6,), "stacked", by_vmap=("t",)),
    "shared layers": Animal(SharedLayers, (6,), "stacked"),
    "buffers": Animal(Buffers, (6,), "stacked", by_vmap=("mul_", "mean", "add_")),
    "with an if": Animal(WithAnIf, (6,), "vmap", {"stacked": _NO_CONTROL_FLOW}),
    "functional dropout": Animal(FunctionalDropout, (6,), "stacked"),
    "steered by data": Animal(Steered, (6,), "sequential", {"stacked": _NO_CONTROL_FLOW, "vmap": _NOT_AT_ONCE}),
    "recurrent": Animal(
        Recurrent, (5, 4), "sequential", {"stacked": r"no rule for cells \(LSTM\), and it cannot", "vmap": _NOT_AT_ONCE}
    ),
    "attention": Animal(Attention, (5, 4), "stacked"),
    "written attention": Animal(WrittenAttention, (5,), "stacked", codes=7),
    "spectral norm": Animal(
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 3)),
        (6,),
        "sequential",
        {"stacked": r"no rule for 0 \(ParametrizedLinear\), and it cannot", "vmap": _NOT_AT_ONCE},
    ),
    "lazily created": Animal(_lazy, (6,), "stacked"),
    "printing": Animal(Printing, (6,), "vmap", {"stacked": "torch.fx cannot trace it .*'len' is not supported"}),
    "sequence": Animal(_sequence, (4, 6), "stacked"),
    "normed": Animal(_normed, (6,), "stacked"),
    "frozen": Animal(
        lambda: nn.Sequential(nn.Linear(6, 6).requires_grad_(False), nn.ReLU(), nn.Linear(6, 3)), (6,), "stacked"
    ),
}
