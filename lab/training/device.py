"""Where models are trained, and whether what is asked for can be had there."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.errors import SpecError, first_line
from lab.training import accelerator
from lab.training.memory import out_of_memory

_OTHERS = "cpu or auto, also for a study that has begun"


def pick_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one, of whatever kind."""
    here = accelerator.accelerator()
    if name == "auto":
        return here or torch.device("cpu")
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if here is None:
        raise SpecError("execution.device", f"'{name}' is asked for, and PyTorch sees no GPU here; choose {_OTHERS}")
    if device.type != here.type:
        raise SpecError(
            "execution.device", f"'{name}' is asked for, and the GPU here is '{here.type}'; choose that, {_OTHERS}"
        )
    if (device.index or 0) >= accelerator.count():
        seen = f"PyTorch sees {accelerator.count()} here, numbered from 0; a lane on Ray sees its own alone"
        raise SpecError("execution.device", f"'{name}' is asked for, and {seen}; choose {_OTHERS}")
    return device


_PINNED = ("cuda", "xpu")
"""Apple's GPUs share the host's memory."""


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; from the host to a GPU by a copy that runs beside the training."""
    if device.type in _PINNED and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def check_precision(name: str, device: torch.device) -> None:
    """Refuse bfloat16 on a GPU that only pretends to have it.

    Raises:
        SpecError: with what to set.
    """
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise SpecError(
            "execution.precision", f"'bf16' is not to be had on {torch.cuda.get_device_name()}; use float32"
        )


class DeviceLost(Exception):  # noqa: N818 - what PyTorch says is the message
    """This process can use its GPU no longer; a new one can."""


def check_device() -> None:
    """After an error, tell one that is over from one that stays: a failed assertion on the GPU, an illegal access or a
    memory fault makes every later call of the process fail, and so would end every trial that is yet to come.

    Raises:
        DeviceLost: with CUDA's own words.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise DeviceLost(first_line(error)) from None
