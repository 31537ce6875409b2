"""A number for each image: the angle of a stripe, learned as its sine and cosine."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import lab

SIDE = 16


def degrees_off(output: Tensor, target: Tensor) -> Tensor:
    """Mean error of the angle in degrees; a stripe has none of its two directions."""
    angles = [torch.atan2(values[:, 0], values[:, 1]) / 2 for values in (output, target)]
    off = (angles[0] - angles[1]).abs() % torch.pi
    return torch.rad2deg(torch.minimum(off, torch.pi - off)).mean()


class Stripes(lab.Task):
    """Outputs and targets [n, 2]."""

    kind = "regression"
    metric = "degrees_off"
    direction = "minimize"
    metrics = {"degrees_off": degrees_off}  # noqa: RUF012 - as users write it

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(params["dropout"]), nn.Linear(256, 2),
        )  # fmt: skip

    def data(self, split: str) -> tuple[Tensor, Tensor]:
        """Images [n, 1, h, w] and, of twice the angle, sine and cosine [n, 2]."""
        sizes = {"train": 256, "valid": 64, "test": 64}
        random = torch.Generator().manual_seed(list(sizes).index(split))
        angle = torch.pi * torch.rand(sizes[split], generator=random)
        y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
        off = x * angle.sin()[:, None, None] - y * angle.cos()[:, None, None]
        image = (off.abs() < 0.2).float() + 0.3 * torch.randn(off.shape, generator=random)
        return image[:, None], torch.stack([(2 * angle).sin(), (2 * angle).cos()], dim=1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(dim=1)
