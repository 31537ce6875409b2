"""Weights of nets: read from files, known again by what they hold, and kept in a study's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lab.errors import TRUST, TaskError
from lab.tasks.keeping import keep, weights_file
from lab.tasks.rows_read import content_of
from lab.tasks.user_code import said_by

_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Under which training scripts keep a net's weights, in a file that holds more than these."""
_PARALLEL = "module."
"""With which `DistributedDataParallel` begins every name."""
_SHOWN = 4


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


def digest_of(net: nn.Module) -> str:
    """By which a net's weights are known again."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode())
        digest.update(content_of(tensor))
    return digest.hexdigest()[:24]


def kept_at(folder: Path | None, digest: str) -> Path | None:
    """The file in a study's folder that keeps the weights of a body; None where there is none."""
    path = folder / weights_file(digest) if folder and digest else None
    return path if path is not None and path.exists() else None


def check_may_fetch(name: str, fetches: bool) -> None:
    """Refuse to ask a network for weights.

    Raises:
        TaskError: the study comes from somebody else.
    """
    if not fetches:
        raise TaskError(f"the study's folder lacks the weights of {name!r}, and you have not begun it here; {TRUST}")


def keep_weights(net: nn.Module, folder: Path | None, digest: str) -> None:
    """Keep a body's weights in a study's folder, where there is one and they are not there yet."""
    if folder is not None and kept_at(folder, digest) is None:
        tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
        keep(folder / weights_file(digest), lambda file: file.write(save(tensors)))


def load_weights(net: nn.Module, tensors: Mapping[str, Tensor], head: frozenset[str], whose: str) -> None:
    wanted = net.state_dict()
    lacking = [name for name in wanted if name not in tensors]
    foreign = [name for name in tensors if name not in wanted and name not in head]
    other = [n for n, t in wanted.items() if n in tensors and tensors[n].shape != t.shape]
    for what, names in (("it lacks", lacking), ("unknown are", foreign), ("of other shapes are", other)):
        if names:
            some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            raise TaskError(f"{whose}: {what} {len(names)} of {len(wanted)}: {some}")
    net.load_state_dict({name: tensors[name] for name in wanted})
