"""Devices by the names that a spec gives them."""

from __future__ import annotations

import pytest
import torch

from lab.errors import SpecError
from lab.training.device import DeviceLost, check_device, pick_device


def test_a_device_is_what_was_asked_for():
    assert pick_device("cpu") == torch.device("cpu")


def _one_gpu(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_auto_is_the_gpu_that_pytorch_names_and_another_kind_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch):
    assert pick_device("auto") == torch.device("cpu")
    _one_gpu(monkeypatch, kind)
    assert pick_device("auto") == torch.device(kind)
    assert pick_device("cpu") == torch.device("cpu")
    other = "mps" if kind == "cuda" else "cuda"
    with pytest.raises(SpecError, match=rf"'{other}' is asked for, and the GPU here is '{kind}'; choose that, cpu or"):
        pick_device(other)


def test_an_accelerator_of_a_kind_that_nothing_was_tried_on_is_none(monkeypatch: pytest.MonkeyPatch):
    _one_gpu(monkeypatch, "meta")
    assert pick_device("auto") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SpecError, match=r"execution\.device: 'cuda' is asked for, and PyTorch sees no GPU here"):
        pick_device("cuda")
    _one_gpu(monkeypatch, "cuda")
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
