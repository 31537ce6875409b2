"""What training asks of an accelerator of any kind: a GPU of NVIDIA or AMD (both `cuda`), of Apple or of Intel."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

KINDS = ("cuda", "mps", "xpu")
"""By PyTorch's names: NVIDIA's and AMD's, Apple's, Intel's."""


def accelerator() -> torch.device | None:
    """The kind that this process can compute on; None where there is none, or one of another kind."""
    device = torch.accelerator.current_accelerator(check_available=True)
    return device if device is not None and device.type in KINDS else None


def count() -> int:
    """How many of them this process sees."""
    return 0 if accelerator() is None else torch.accelerator.device_count()


def name_of(device: torch.device) -> str:
    """What is printed on it; the kind's name where PyTorch does not say."""
    named = None if device.type == "cpu" else getattr(torch.get_device_module(device), "get_device_name", None)
    return device.type if named is None else str(named(device))


def free_bytes(device: torch.device) -> int:
    """Memory that is not taken by anyone."""
    if device.type == "mps":  # the host's; Metal says how much of it may be used
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return int(torch.get_device_module(device).mem_get_info(device)[0])


def widest_float(device: torch.device) -> torch.dtype:
    """Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def random_state(device: torch.device) -> Tensor:
    """The state of the host's generator, since a forward may draw there as well, and behind it the accelerator's."""
    host = torch.get_rng_state()
    return host if device.type == "cpu" else torch.cat([host, torch.get_device_module(device).get_rng_state(device)])


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Take up the part of a saved state that exists on this kind of device."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size])
    if device.type != "cpu" and len(state) > size:
        torch.get_device_module(device).set_rng_state(state[size:], device)


def own_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Leave the process's generators as they were, whatever is drawn inside."""
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device], device_type=device.type)


def release_memory() -> None:
    """Give back what the allocator keeps of memory that is free."""
    here = accelerator()
    if here is not None:
        torch.get_device_module(here).empty_cache()
