"""Nets of timm and torchvision that were trained before: a body that makes features of images, without its head.

Shapes: b images, h and w pixels, f features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lab.errors import SpecError, TaskError
from lab.tasks.images.nets import check_library
from lab.tasks.images.options import ImageOptions
from lab.tasks.transfer.weights import check_may_fetch, digest_of, keep_weights, kept_at, load_weights, read_weights
from lab.tasks.user_code import said_by

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""By which torchvision's weights see their pixels."""


@dataclass(frozen=True)
class Body:
    """A net without its head."""

    net: nn.Module
    """From pixels [b, 3, h, w], normalised by `mean` and `std`, to features [b, f]."""
    mean: tuple[float, ...]
    """The channels' mean, of pixels in 0..1, with which the weights were trained."""
    std: tuple[float, ...]

    @cached_property
    def digest(self) -> str:
        """By which its weights, as they were at first, are known again."""
        return digest_of(self.net)

    def features_of(self, size: tuple[int, int], name: str) -> int:
        """How many features it makes of images of a size.

        Raises:
            TaskError: it does not take images of that size.
        """
        with torch.no_grad():
            try:
                made = self.net.eval()(torch.zeros(1, 3, *size))
            except Exception as error:  # a library's net may raise anything
                height, width = size
                raise TaskError(
                    f"task.size: {name!r} does not take images of {width}x{height} ({said_by(error)})"
                ) from None
        if made.ndim != 2:
            raise TaskError(
                f"task.model: {name!r} makes {made.ndim - 1} dimensions of an image, and not a row of features"
            )
        return int(made.shape[1])


def kept_body(
    options: ImageOptions, size: tuple[int, int], folder: Path | None, digest: str, fetches: bool = True
) -> Body:
    """The body that a spec asks for, from a study's folder where it was kept; the process's random state stays.

    Args:
        size: the images' height and width.
        digest: that of the body which the study began with, or empty before it has begun.
        fetches: whether a library may be asked for weights that are not there.

    Raises:
        SpecError: there is no such net, no head to replace, no weights for it, or its library is not installed.
        TaskError: a file cannot be read or holds weights of another net, or they have changed since the study began.
    """
    with torch.random.fork_rng(devices=[]):
        path = kept_at(folder, digest) or (None if options.weights is None else Path(options.weights))
        if path is None:
            check_may_fetch(options.model, fetches)
        body, head = _opened(options.model, size, pretrained=path is None)
        if path is not None:
            load_weights(
                body.net, read_weights(path), head, f"{path}: holds weights of another net than {options.model!r}"
            )
    body.net.requires_grad_(True).eval()
    if digest and body.digest != digest:
        raise TaskError(f"the weights of {options.model!r} are not those that the study began with")
    keep_weights(body.net, folder, body.digest)
    return body


def bare_body(name: str, size: tuple[int, int]) -> Body:
    """A body without trained weights, for those that come from elsewhere.

    Raises:
        SpecError: there is no such net, or its library is not installed.
    """
    return _opened(name, size, pretrained=False)[0]


def _opened(name: str, size: tuple[int, int], pretrained: bool) -> tuple[Body, frozenset[str]]:
    """A body, and the names of the weights of the head that it had."""
    check_library(name)
    library, _, rest = name.partition(":")
    return _from_timm(name, rest, size, pretrained) if library == "timm" else _from_torchvision(name, rest, pretrained)


def _from_timm(name: str, rest: str, size: tuple[int, int], pretrained: bool) -> tuple[Body, frozenset[str]]:
    import timm

    if pretrained and not timm.is_model_pretrained(rest):
        raise SpecError("task.pretrained", f"timm has no weights for {name!r}; give task.weights: FILE")
    with torch.device("meta"):
        whole: Any = timm.create_model(rest)
    settings = whole.pretrained_cfg
    fixed = {"img_size": size} if settings.get("fixed_input_size") else {}
    net = _had(name, pretrained, lambda: timm.create_model(rest, pretrained=pretrained, num_classes=0, **fixed))
    head = frozenset(whole.state_dict()) - frozenset(net.state_dict())
    return Body(net, tuple(settings["mean"]), tuple(settings["std"])), head


def _from_torchvision(name: str, rest: str, pretrained: bool) -> tuple[Body, frozenset[str]]:
    from torchvision import models

    published = list(models.get_model_weights(rest))
    if pretrained and not published:
        raise SpecError("task.pretrained", f"torchvision has no weights for {name!r}; give task.weights: FILE")
    weights = "DEFAULT" if pretrained else None
    net = _had(name, pretrained, lambda: models.get_model(rest, weights=weights))
    before = frozenset(net.state_dict())
    _cut_head(net, name)
    seen = published[0].transforms() if published else None
    mean, std = _IMAGENET if seen is None else (tuple(seen.mean), tuple(seen.std))
    return Body(net, mean, std), before - frozenset(net.state_dict())


def _had(name: str, pretrained: bool, make: Callable[[], Any]) -> nn.Module:
    """A library's net; what it raises is said in a line."""
    try:
        net: nn.Module = make()
    except Exception as error:  # no network, no such tag, a size that it does not take
        where, then = ("pretrained", "; give task.weights: FILE") if pretrained else ("model", "")
        raise SpecError(f"task.{where}", f"{name!r} cannot be had ({said_by(error)}){then}") from None
    return net


def _cut_head(net: nn.Module, name: str) -> None:
    """Leave out the last linear layer: what it takes are the features."""
    layers = [layer for layer, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise SpecError("task.model", f"{name!r} has no linear layer at its end that could be replaced")
    net.set_submodule(layers[-1], nn.Identity())
