"""Devices by the names that a spec gives them."""

from __future__ import annotations

import pytest
import torch

from lab.errors import SpecError
from lab.training.device import pick_device


def test_a_device_is_what_was_asked_for():
    assert pick_device("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0") == torch.device("cuda:0")
    assert pick_device("cuda") == torch.device("cuda")
    with pytest.raises(SpecError, match=r"execution\.device: 'cuda:1' is asked for, and PyTorch sees 1 here"):
        pick_device("cuda:1")
