"""Nets for images: a small CNN, a fast ResNet for small images, and any net of timm or torchvision.

Shapes: b examples, c channels, h and w pixels, n classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from lab.errors import SpecError, TaskError, install_extra, nearest
from lab.tasks.images.options import LIBRARIES, check_net


def build(name: str, channels: int, classes: int, dropout: float) -> nn.Module:
    """A net from [b, c, h, w] to logits [b, n].

    Raises:
        SpecError: no such net, or its library is not installed.
    """
    check_net(name)
    library, _, rest = name.partition(":")
    if library in LIBRARIES:
        check_library(name)
        return (_from_timm if library == "timm" else _from_torchvision)(rest, channels, classes, dropout)
    return small_cnn(channels, classes, dropout) if name == "small_cnn" else ResNet9(channels, classes, dropout)


def check_library(name: str) -> None:
    """Refuse a net that its library does not have.

    Raises:
        SpecError: with the nearest, or the library is not installed.
    """
    library, _, rest = name.partition(":")
    try:
        names = _torchvisions() if library == "torchvision" else _timms()
    except ImportError:
        raise SpecError("task.model", f"'{name}' needs: {install_extra('pretrained')}") from None
    elsewhere = library == "timm" and ":" in rest  # on the Hub or in a folder: who builds it will see
    if rest.partition(".")[0] not in names and rest not in names and not elsewhere:
        raise SpecError("task.model", f"'{name}' is unknown{nearest(rest, names)}")


def _torchvisions() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models()
    return names


def _timms() -> list[str]:
    import timm

    names: list[str] = timm.list_models()
    return names


def small_cnn(channels: int, classes: int, dropout: float) -> nn.Module:
    """Three stages of convolution, batch norm, ReLU and pooling, 24k parameters: trains on a laptop."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, 16), (16, 32), (32, 64)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(64, classes))


def _block(inputs: int, outputs: int, pool: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
    layers += [nn.MaxPool2d(2, ceil_mode=True)] if pool else []
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs), nn.ReLU())


class ResNet9(nn.Module):
    """Page's ResNet-9 for 32x32 (DAWNBench 2018): 6.6M parameters at width 64, two residual blocks, scaled logits."""

    def __init__(self, channels: int, classes: int, dropout: float, width: int = 64) -> None:
        super().__init__()
        w = width
        self.stem = _block(channels, w, pool=False)
        self.stage1 = _block(w, 2 * w, pool=True)
        self.residual1 = nn.Sequential(_block(2 * w, 2 * w, pool=False), _block(2 * w, 2 * w, pool=False))
        self.stage2 = _block(2 * w, 4 * w, pool=True)
        self.stage3 = _block(4 * w, 8 * w, pool=True)
        self.residual3 = nn.Sequential(_block(8 * w, 8 * w, pool=False), _block(8 * w, 8 * w, pool=False))
        self.head = nn.Sequential(
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(8 * w, classes, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage1(self.stem(x))
        x = x + self.residual1(x)
        x = self.stage3(self.stage2(x))
        x = x + self.residual3(x)
        logits: Tensor = self.head(x) * 0.125
        return logits


def _from_timm(name: str, channels: int, classes: int, dropout: float) -> nn.Module:
    import timm

    try:
        net: nn.Module = timm.create_model(name, num_classes=classes, in_chans=channels, drop_rate=dropout)
    except RuntimeError as error:
        raise SpecError("task.model", f"'timm:{name}': {' '.join(str(error).split())}") from None
    return net


def _from_torchvision(name: str, channels: int, classes: int, dropout: float) -> nn.Module:
    """Its nets have dropouts of their own."""
    from torchvision import models

    if channels != 3:
        raise TaskError(f"torchvision's nets take 3 channels; these images have {channels}")
    net: nn.Module = models.get_model(name, num_classes=classes)
    return net
