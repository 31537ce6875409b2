"""Features that a frozen body makes of examples, made once and kept.

Shapes: n examples, b of a batch, f features.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lab.tasks.keeping import keep
from lab.tasks.rows_read import content_of

_BATCH = 64
"""Examples at a time: what a large net keeps of them stays within a gigabyte."""
_CONSTANT = 1e-6
_SAY_EVERY_S = 10.0
_LOG = logging.getLogger(__name__)


def features(body: nn.Module, see: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """What a body makes of inputs [n, ...], pixels say: float32 [n, f], on the host.

    Args:
        see: a batch of inputs as the body takes them.
    """
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    body = body.to(device).eval()
    made: list[Tensor] = []
    said = time.monotonic()
    with torch.inference_mode():
        for batch in torch.split(inputs, _BATCH):
            if time.monotonic() - said > _SAY_EVERY_S:
                said = time.monotonic()
                _LOG.info("data      features of %d of %d examples are made", len(made) * _BATCH, len(inputs))
            made.append(body(see(batch.to(device))).float().cpu())
    body.to("cpu")
    return torch.cat(made)


def kept_features(path: Path | None, make: Callable[[], Tensor]) -> Tensor:
    """Features from a file where they are kept, else made and kept there."""
    if path is None:
        return make()
    try:
        return load_file(path)["features"]
    except Exception:  # there is none yet, or it is damaged
        made = make()
    keep(path, lambda file: file.write(save({"features": made})))
    return made


def digest_of(inputs: Tensor, *said: str) -> str:
    """By which the features of inputs are known again, beside what else they depend on."""
    digest = hashlib.sha256(" ".join([*said, *map(str, inputs.shape)]).encode())
    digest.update(content_of(inputs))
    return digest.hexdigest()[:24]


def scaled(made: Tensor, center: Sequence[float], spread: Sequence[float]) -> Tensor:
    """Features [n, f] by what `scale_of` gave of the training examples."""
    return (made - torch.tensor(center)) / torch.tensor(spread)


def scale_of(made: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each feature [n, f]; 1 for one that never changes."""
    std = made.std(dim=0, correction=0)
    std = torch.where(std > _CONSTANT, std, torch.ones_like(std))
    return tuple(made.mean(dim=0).tolist()), tuple(std.tolist())
