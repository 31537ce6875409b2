"""Masks as targets: a small U-Net that finds discs in noise, scored by intersection over union."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import lab

SIDE = 24


def iou(output: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of all pixels, of logits [n, h, w] above 0 and masks [n, h, w]."""
    predicted, true = output > 0, target > 0.5
    return (predicted & true).sum() / (predicted | true).sum().clamp_min(1)


class UNet(nn.Module):
    """One step down and up again, with what was seen above beside it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.above = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.below = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.last = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(2 * width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        above = self.above(x)
        output: Tensor = self.last(torch.cat([above, self.up(self.below(above))], dim=1))
        return output[:, 0]


class Discs(lab.Task):
    """A disc or two in noise. Each pixel is a label, so the kind is `multilabel`: probabilities are averaged."""

    kind = "multilabel"
    metric = "iou"
    metrics = {"iou": iou}  # noqa: RUF012 - as users write it

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return UNet(8, params["dropout"])

    def data(self, split: str) -> tuple[Tensor, Tensor]:
        """Images [n, 1, h, w] and masks [n, h, w]."""
        sizes = {"train": 192, "valid": 64, "test": 64}
        random = torch.Generator().manual_seed(list(sizes).index(split))
        at = torch.arange(SIDE, dtype=torch.float32)
        y, x, r = (
            torch.rand(3, sizes[split], 2, 1, 1, generator=random)
            * torch.tensor([SIDE, SIDE, 6])[:, None, None, None, None]
        )
        mask = ((at[:, None] - y).square() + (at - x).square() < (r + 2).square()).any(dim=1).float()
        return mask[:, None] + torch.randn(len(mask), 1, SIDE, SIDE, generator=random), mask
