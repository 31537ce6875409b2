"""What running out of memory looks like, in all the ways in which PyTorch says it."""

from __future__ import annotations

import torch

_SAID = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "unable to find an engine to execute this computation",
    "No valid engine configs",
)
"""Only CUDA's caching allocator raises an error of a type of its own; the others are told by their words. cuDNN
finds no engine where none has room to work, and cuBLAS cannot begin where its handle has none."""


def out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised from, says that memory is used up."""
    seen: set[int] = set()  # an error may have been raised from itself
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID):
            return True
        error = error.__cause__
    return False
