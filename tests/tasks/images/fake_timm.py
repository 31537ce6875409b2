"""A library of nets with timm's face and one small net in it: torchvision, which timm needs, has no build for every
PyTorch that the tests run on."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
FEATURES = 8


class TinyNet(nn.Module):
    """Two convolutions with batch norm, pooled, and a head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pretrained_cfg = {"mean": MEAN, "std": STD, "fixed_input_size": False}
        self.stem = nn.Conv2d(3, FEATURES, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(FEATURES)
        self.last = nn.Conv2d(FEATURES, FEATURES, 3, padding=1)
        self.classifier = nn.Linear(FEATURES, classes) if classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.norm(self.stem(x)).relu()).relu().mean(dim=(2, 3))
        made: Tensor = self.classifier(x)
        return made


def trained() -> TinyNet:
    """The net with the weights that the library has for it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return TinyNet(10)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the library in the place of timm."""

    def create_model(name: str, pretrained: bool = False, num_classes: int = 10, **options: Any) -> nn.Module:
        if name == "offline" and pretrained:
            raise OSError("no network")
        net = TinyNet(num_classes)
        if pretrained:
            net.load_state_dict({n: t for n, t in trained().state_dict().items() if n in net.state_dict()})
        return net

    fake: Any = ModuleType("timm")
    fake.create_model = create_model
    fake.list_models = lambda: ["tiny", "bare", "offline", "resnet18"]
    fake.is_model_pretrained = lambda name: name != "bare"
    monkeypatch.setitem(sys.modules, "timm", fake)
