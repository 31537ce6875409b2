"""PyTorch's `examples/mnist` as a task: its net and its loaders, on scikit-learn's digits, which need no download.

With torchvision, `Digits` is `datasets.MNIST("data", train=True, download=True, transform=...)`, split in two.
"""

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, random_split

import lab


class Digits(Dataset[Any]):
    """1,797 digits of 8 x 8 pixels with their class."""

    def __init__(self) -> None:
        digits = load_digits()
        self.images, self.labels = digits.images, digits.target

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor(self.images[index] / 16, dtype=torch.float32)[None], int(self.labels[index])


class Net(nn.Module):
    """Two convolutions and two linear layers, with dropout between."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU())
        self.first, self.last = nn.Linear(256, 128), nn.Linear(128, 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.convolutions(x), 2).flatten(1)
        output: Tensor = self.last(self.dropout(self.first(x).relu()))
        return output


class Mnist(lab.Task):
    """The loaders are read once, for all trials; their shuffling and batch size are left to the study."""

    def __init__(self) -> None:
        parts: list[Subset[Any]] = random_split(Digits(), [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))
        self.loaders = {
            split: DataLoader(part, 64) for split, part in zip(("train", "valid", "test"), parts, strict=True)
        }

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return Net(params["dropout"])

    def data(self, split: str) -> Any:
        return self.loaders[split]
