"""Nets of timm and torchvision that were trained before: a body that makes features of images, without its head.

Shapes: b images, h and w pixels, f features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lab.errors import SpecError, TaskError
from lab.tasks.images.nets import check_library
from lab.tasks.images.options import ImageOptions
from lab.tasks.keeping import keep
from lab.tasks.rows_read import content_of
from lab.tasks.user_code import said_by

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""By which torchvision's weights see their pixels."""
_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Under which training scripts keep a net's weights, in a file that holds more than these."""
_PARALLEL = "module."
"""With which `DistributedDataParallel` begins every name."""
_SHOWN = 4


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
        digest = hashlib.sha256()
        for name, tensor in self.net.state_dict().items():
            digest.update(name.encode())
            digest.update(content_of(tensor))
        return digest.hexdigest()[:24]

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


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names. Nothing is unpickled but tensors.

    Raises:
        TaskError: it cannot be read, or holds no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged or foreign file makes its readers raise
        raise TaskError(f"{path}: weights cannot be read ({said_by(error)})") from None
    for wrapper in _WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    tensors = {n: t for n, t in held.items() if isinstance(t, Tensor)} if isinstance(held, Mapping) else {}
    if not tensors:
        raise TaskError(f"{path}: holds no weights by name")
    if all(name.startswith(_PARALLEL) for name in tensors):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def kept_body(options: ImageOptions, size: tuple[int, int], folder: Path | None, digest: str) -> Body:
    """The body that a spec asks for, from a study's folder where it was kept; the process's random state stays.

    Args:
        size: the images' height and width.
        digest: that of the body which the study began with, or empty before it has begun.

    Raises:
        SpecError: there is no such net, no head to replace, no weights for it, or its library is not installed.
        TaskError: a file cannot be read or holds weights of another net, or they have changed since the study began.
    """
    with torch.random.fork_rng(devices=[]):
        path = folder / f"body-{digest}.safetensors" if folder and digest else None
        if path is None or not path.exists():
            path = None if options.weights is None else Path(options.weights)
        body, head = _opened(options.model, size, pretrained=path is None)
        if path is not None:
            _load(body.net, read_weights(path), head, f"{path}: holds weights of another net than {options.model!r}")
    body.net.requires_grad_(True).eval()
    if digest and body.digest != digest:
        raise TaskError(f"the weights of {options.model!r} are not those that the study began with")
    if folder is not None and not (kept := folder / f"body-{body.digest}.safetensors").exists():
        keep(kept, lambda file: file.write(save({n: t.contiguous() for n, t in body.net.state_dict().items()})))
    return body


def layers_of(names: Sequence[str], count: int) -> list[Sequence[str]]:
    """Parameters of a body, in their order, in so many parts of about as many layers each: a layer's stay together.

    >>> layers_of(["a.weight", "a.bias", "b.weight", "c.weight"], 2)
    [['a.weight', 'a.bias'], ['b.weight', 'c.weight']]
    """
    layers = [list(of_layer) for _, of_layer in groupby(names, key=lambda name: name.rpartition(".")[0])]
    count = min(count, len(layers))
    cuts = [round(i * len(layers) / count) for i in range(count + 1)]
    return [list(chain.from_iterable(layers[begin:end])) for begin, end in pairwise(cuts)]


def _load(net: nn.Module, tensors: Mapping[str, Tensor], head: frozenset[str], whose: str) -> None:
    wanted = net.state_dict()
    lacking = [name for name in wanted if name not in tensors]
    foreign = [name for name in tensors if name not in wanted and name not in head]
    other = [n for n, t in wanted.items() if n in tensors and tensors[n].shape != t.shape]
    for what, names in (("it lacks", lacking), ("unknown are", foreign), ("of other shapes are", other)):
        if names:
            some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            raise TaskError(f"{whose}: {what} {len(names)} of {len(wanted)}: {some}")
    net.load_state_dict({name: tensors[name] for name in wanted})


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

    known = list(models.get_model_weights(rest))
    if pretrained and not known:
        raise SpecError("task.pretrained", f"torchvision has no weights for {name!r}; give task.weights: FILE")
    weights = "DEFAULT" if pretrained else None
    net = _had(name, pretrained, lambda: models.get_model(rest, weights=weights))
    before = frozenset(net.state_dict())
    _cut_head(net, name)
    seen = known[0].transforms() if known else None
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
