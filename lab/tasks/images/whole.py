"""A whole net that begins with another study's net, or body and head, kept in its own study's folder.

Shapes: f features, n classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lab.errors import SpecError, TaskError
from lab.tasks.images.delivered import Delivered
from lab.tasks.images.options import ImageOptions
from lab.tasks.images.pretrained import Body, bare_body
from lab.tasks.transfer.begun import begun_with
from lab.tasks.transfer.head import head, with_head
from lab.tasks.transfer.weights import check_may_fetch, digest_of, keep_weights, kept_at, load_weights, read_weights


@dataclass(frozen=True)
class BegunWith:
    """The study that a net began with."""

    study: str
    """The folder that was asked for."""
    digest: str
    """By which the whole net's weights are known again."""


def kept_net(
    options: ImageOptions,
    size: tuple[int, int],
    folder: Path | None,
    digest: str,
    fetches: bool,
    deliver: Callable[[], Delivered],
) -> Body:
    """The whole net, as a body, of `task.from_study`: as the study's folder keeps it, else from the other study.

    Args:
        size: the images' height and width.
        digest: that of the net which the study began with, or empty before it has begun.
        fetches: whether the other study may be read.

    Raises:
        LabError: as `deliver`, its weights are of no such net, or they have changed since the study began.
    """
    asked = str(options.from_study)

    def take() -> BegunWith:
        body = _taken(options, size, deliver())
        keep_weights(body.net, folder, body.digest)
        return BegunWith(asked, body.digest)

    digest = digest or begun_with(BegunWith, asked, folder, fetches, take).digest
    path = kept_at(folder, digest)
    if path is None:
        check_may_fetch(asked, fetches)
        body = _taken(options, size, deliver())
    else:
        body = _whole(options, size, read_weights(path), str(path))
    if body.digest != digest:
        raise TaskError(f"the weights of '{asked}' are not those that the study began with")
    keep_weights(body.net, folder, digest)
    return body


def with_dropout(net: nn.Module, dropout: float, hidden: int | None) -> nn.Module:
    """A copy of a whole net, with a rate in its head.

    Args:
        hidden: units of the head's hidden layer, as a trial has them; None: what they are.

    Raises:
        SpecError: the head has another number.
    """
    own = copy.deepcopy(net)
    layers = dict(own.get_submodule("head").named_children())
    units = layers["linear0"].out_features if "linear0" in layers else 0
    if hidden is not None and hidden != units:
        raise SpecError("task.hidden", f"{hidden} is not {units}, which the head of task.from_study has; leave it out")
    for layer in layers.values():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    return own


def _taken(options: ImageOptions, size: tuple[int, int], taken: Delivered) -> Body:
    """A study's net as it is, or the body and the head of a study of heads as one net, which predicts what they do:
    batch norm in evaluation brings the body's features to the scale on which the head has learned."""
    fitted, tensors = taken.fitted, read_weights(taken.weights)
    part = "net" if taken.body is None else "head"
    whose = f"{taken.weights}: is no {part} of {options.model!r} at {size[1]}x{size[0]} pixels"
    if taken.body is None:
        if any(name.endswith(".lora_a") for name in tensors):
            raise SpecError(
                "task.from_study", f"'{options.from_study}' trained adapters; take the study that it began with"
            )
        return _whole(options, size, tensors, whose)
    center, spread = (torch.tensor(values, dtype=torch.float32) for values in (fitted.center, fitted.spread))
    eps = nn.BatchNorm1d(1).eps
    norm = {
        "weight": (spread**2 + eps).sqrt() / spread,
        "bias": torch.zeros_like(center),
        "running_mean": center,
        "running_var": spread**2,
        "num_batches_tracked": torch.tensor(0),
    }
    parts = {"body": read_weights(taken.body), "norm": norm, "head": tensors}
    held = {f"{part}.{name}": t for part, named in parts.items() for name, t in named.items()}
    whole = _whole(options, size, held, whose)
    if digest_of(whole.net.get_submodule("body")) != fitted.body:
        raise TaskError(f"{taken.body}: has other weights than the study learned with")
    return whole


def _whole(options: ImageOptions, size: tuple[int, int], tensors: Mapping[str, Tensor], whose: str) -> Body:
    """A whole net with these weights.

    Raises:
        TaskError: they are those of another.
    """
    with torch.random.fork_rng(devices=[]):
        body = bare_body(options.model, size)
        shapes: dict[str, Any] = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        try:
            (classes, _), (features,) = shapes["head.linear.weight"], shapes["norm.weight"]
            hidden = shapes["head.linear0.weight"][0] if "head.linear0.weight" in shapes else 0
        except (KeyError, ValueError, IndexError):
            raise TaskError(whose) from None
        net = with_head(body.net, features, head(features, classes, 0.0, hidden), options.holds_norms)
    load_weights(net, tensors, frozenset(), whose)
    return Body(net.requires_grad_(True).eval(), body.mean, body.std)
