"""Out of memory is told from every other error, however it is said."""

from __future__ import annotations

import pytest
import torch

from lab.training.memory import out_of_memory


def _raised_from(cause: BaseException) -> RuntimeError:
    error = RuntimeError("the epoch failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        _raised_from(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")),
    ],
)
def test_memory_that_is_used_up(error: BaseException) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: device-side assert triggered"), ValueError("memory"), None]
)
def test_what_is_something_else(error: BaseException | None) -> None:
    assert not out_of_memory(error)


def test_an_error_that_was_raised_from_itself_is_looked_at_once() -> None:
    error = ValueError("bad")
    error.__cause__ = error
    assert not out_of_memory(error)
