"""Weights as bytes and back: safetensors, never pickle, since a study folder may come from somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lab.errors import RecordError, TaskError
from lab.tasks.transfer.adapter import own_tensors


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Tensors and text as one safetensors file."""
    ready = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    return save(ready, dict(metadata or {}))


def check_packable(module: nn.Module) -> None:
    """Refuse a model that could be trained and not be saved.

    Raises:
        TaskError: with the tensor's name.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        kind = str(tensor.dtype) if tensor.layout is torch.strided else str(tensor.layout)
        try:
            pack({name: torch.empty(0, dtype=tensor.dtype, layout=tensor.layout)})
        except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise TaskError(
                f"model: {name!r} is {kind}, which a snapshot cannot hold; keep a plain dense tensor, and make the "
                "other of it in forward"
            ) from error


def size_in_bytes(module: nn.Module) -> int:
    """The bytes of a model's own weights and buffers, which a snapshot holds."""
    return sum(t.numel() * t.element_size() for t in own_tensors(module).values())


def unpack(content: bytes, source: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        RecordError: truncated or foreign content.
    """
    try:
        return load(content)
    except SafetensorError as error:
        raise RecordError(f"{source}: is no safetensors file, or is cut off ({error})") from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Put a snapshot's weights and buffers into a freshly built module of the same architecture."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise RecordError(f"{path}: cannot be read (it is no file)")
    try:
        tensors = unpack(path.read_bytes(), str(path))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    own = own_tensors(module)
    if own.keys() != tensors.keys() or any(own[n].shape != t.shape for n, t in tensors.items()):
        raise RecordError(f"{path}: holds the weights of another architecture")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
