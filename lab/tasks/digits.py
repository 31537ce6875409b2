"""scikit-learn's digits: 1,797 images of 8x8, ten classes. Small enough to learn on, real enough to be wrong on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.digits_options import DigitsOptions
from lab.tasks.options import constructed_by
from lab.tasks.task import Data, Split, Task


class Digits(Task):
    """60 % train, 20 % valid, 20 % test, stratified; the parameters are those of `DigitsOptions`."""

    class_names = tuple(str(d) for d in range(10))

    @constructed_by(DigitsOptions)
    def __init__(self, options: DigitsOptions) -> None:
        self.options = options.plain()
        self.architecture = options.model
        self.split_seed = options.split_seed
        self._tensors: dict[Split, Data] = {}

    @cached_property
    def _splits(self) -> dict[Split, Data]:
        # Here, not above: a lane that is handed the tensors needs no scikit-learn.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        x, y = load_digits(return_X_y=True)
        rest_x, test_x, rest_y, test_y = train_test_split(x, y, test_size=0.2, stratify=y, random_state=self.split_seed)
        train_x, valid_x, train_y, valid_y = train_test_split(
            rest_x, rest_y, test_size=0.25, stratify=rest_y, random_state=self.split_seed
        )
        self._scale = float(train_x.mean()), float(train_x.std())
        parts: dict[Split, tuple[Any, Any]] = {
            "train": (train_x, train_y),
            "valid": (valid_x, valid_y),
            "test": (test_x, test_y),
        }
        return {split: (self._ready(px), torch.tensor(py, dtype=torch.int64)) for split, (px, py) in parts.items()}

    def _ready(self, pixels: np.ndarray[Any, Any]) -> Tensor:
        mean, std = self._scale
        return torch.tensor((pixels - mean) / std, dtype=torch.float32).view(self._shape(len(pixels)))

    def prepare(self, raw: np.ndarray[Any, Any]) -> Tensor:
        """Pixels 0..16, [n, 64] or [n, 8, 8]."""
        if raw.size != 64 * len(raw):
            raise TaskError(f"digits: inputs of shape {raw.shape} are not [n, 64] or [n, 8, 8]")
        _ = self._splits  # the scale is that of the training split
        return self._ready(raw.reshape(len(raw), 64))

    def _shape(self, n: int) -> tuple[int, ...]:
        return (n, 64) if self.architecture == "mlp" else (n, 1, 8, 8)

    def data(self, split: Split) -> Data:
        return self._tensors[split] if split in self._tensors else self._splits[split]

    def take(self, splits: Mapping[Split, Data]) -> None:
        self._tensors.update(splits)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        rate = float(params.get("dropout", 0.0))
        return _mlp(rate) if self.architecture == "mlp" else _cnn(rate)


def _mlp(rate: float) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((64, 128), (128, 128)):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(rate)]
    return nn.Sequential(*layers, nn.Linear(128, 10))


def _cnn(rate: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(rate),
        nn.Linear(128, 10),
    )
