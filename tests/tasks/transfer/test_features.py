"""Features of a frozen body: made once, kept, and said to be made where that takes long."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lab.tasks.transfer import features as module
from lab.tasks.transfer.features import features, kept_features, scale_of


def test_every_example_has_those_of_the_body_in_evaluation():
    body = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    x = torch.randn(150, 3)
    torch.testing.assert_close(features(body, lambda batch: batch * 2, x), body[0](x * 2).detach())


def test_that_they_are_made_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(module, "_SAY_EVERY_S", -1.0)
    with caplog.at_level(logging.INFO, logger="lab"):
        features(nn.Identity(), lambda batch: batch, torch.zeros(150, 3))
    assert [record.getMessage() for record in caplog.records][
        -1
    ] == "data      features of 128 of 150 examples are made"


def test_they_are_made_once_and_again_where_the_file_is_damaged(tmp_path: Path):
    made: list[Tensor] = []

    def make() -> Tensor:
        made.append(torch.arange(6.0).view(2, 3))
        return made[-1]

    path = tmp_path / "features.safetensors"
    for _ in range(2):
        assert torch.equal(kept_features(path, make), torch.arange(6.0).view(2, 3))
    assert len(made) == 1
    path.write_bytes(b"damaged")
    assert torch.equal(kept_features(path, make), made[0])
    assert len(made) == 2
    kept_features(None, make)
    assert len(made) == 3


def test_a_feature_that_never_changes_keeps_its_scale():
    center, spread = scale_of(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert center == (2.0, 5.0)
    assert spread == (1.0, 1.0)
