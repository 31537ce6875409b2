"""scikit-learn's digits: 1,797 images of 8x8, ten classes. Small enough to learn on, real enough to be wrong on."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.digits_data import CLASS_NAMES, digits
from lab.tasks.digits_options import DigitsOptions
from lab.tasks.metrics import metrics_of
from lab.tasks.options import constructed_by
from lab.tasks.scored import score_of
from lab.tasks.task import Data, Split, Task


class Digits(Task):
    """60 % train, 20 % valid, 20 % test, stratified; the parameters are those of `DigitsOptions`."""

    class_names = CLASS_NAMES
    paths = DigitsOptions.paths()

    @constructed_by(DigitsOptions)
    def __init__(self, options: DigitsOptions) -> None:
        self.options = options.plain()
        self.architecture = options.model
        self.split_seed = options.split_seed
        if options.metric is not None:
            score, default = score_of(options, self.kind), score_of(DigitsOptions(), self.kind)
            self.metric, self.direction = score.metric, score.direction
            self.metrics = metrics_of(score, default, self.kind)
        self._tensors: dict[Split, Data] = {}

    @cached_property
    def _splits(self) -> dict[Split, Data]:
        parts = digits(self.split_seed)
        pixels = parts["train"][0]
        self._scale = float(pixels.mean()), float(pixels.std())
        return {split: (self._ready(x), torch.tensor(y, dtype=torch.int64)) for split, (x, y) in parts.items()}

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

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        """The digit as it was written, dark on light."""
        from PIL import Image  # no lane shows anything

        x = self._splits[split][0][index].reshape(8, 8).numpy()
        mean, std = self._scale
        shades = (255 * (1 - (x * std + mean) / 16)).round().clip(0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(shades).save(stream, format="PNG")
        picture = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        return {"name": f"{split} example {index}", "image": picture}


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
