"""Devices by the names that a spec gives them."""

from __future__ import annotations

import pytest
import torch

from lab.errors import SpecError
from lab.training.device import DeviceLost, check_device, pick_device


def test_a_device_is_what_was_asked_for():
    assert pick_device("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0") == torch.device("cuda:0")
    assert pick_device("cuda") == torch.device("cuda")
    with pytest.raises(SpecError, match=r"execution\.device: 'cuda:1' is asked for, and PyTorch sees 1 here"):
        pick_device("cuda:1")


def _broken_gpu(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    def fail() -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)


def test_a_gpu_that_fails_every_call_is_told_from_an_error_that_is_over(monkeypatch: pytest.MonkeyPatch):
    check_device()
    _broken_gpu(monkeypatch, "CUDA error: out of memory")
    check_device()
    _broken_gpu(monkeypatch, "CUDA error: an illegal memory access was encountered\nA page of advice.")
    with pytest.raises(DeviceLost, match=r"^CUDA error: an illegal memory access was encountered$"):
        check_device()
