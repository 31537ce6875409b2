"""Weights as bytes and back: safetensors, never pickle, since a study folder may come from somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lab.errors import RecordError


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Tensors and text as one safetensors file."""
    ready = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    return save(ready, dict(metadata or {}))


def unpack(content: bytes, place: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        RecordError: truncated or foreign content.
    """
    try:
        return load(content)
    except SafetensorError as error:
        raise RecordError(f"{place}: is no safetensors file, or is cut off ({error})") from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Put a snapshot's weights and buffers into a freshly built module of the same architecture."""
    try:
        tensors = unpack(path.read_bytes(), str(path))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    if own.keys() != tensors.keys() or any(own[n].shape != t.shape for n, t in tensors.items()):
        raise RecordError(f"{path}: holds the weights of another architecture")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
