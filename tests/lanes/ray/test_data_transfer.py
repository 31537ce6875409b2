"""What the driver read reaches lanes: as tensors, or, where these lie in a file, as the file."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from lab.lanes.ray.data_transfer import DataTransfer, OpenedTask
from lab.spec.plan import TaskRef
from lab.tasks import mapped
from lab.tasks.images.task import Images
from lab.tasks.load import load_task
from tests.lanes.test_engines import job
from tests.own_data import write_folders


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was put into the object store."""
    kept: list[Any] = []
    monkeypatch.setattr(ray, "put", lambda value: kept.append(copy.deepcopy(value)) or len(kept) - 1)
    monkeypatch.setattr(ray, "get", kept.__getitem__)
    return kept


@pytest.mark.parametrize("large", [False, True])
def test_a_lane_has_the_splits_that_the_driver_read(
    large: bool, tmp_path: Path, store: list[Any], monkeypatch: pytest.MonkeyPatch
):
    """Without a copy of what lies in a file, and without reading the images again where it does not."""
    photos = write_folders(tmp_path / "photos", each=20)
    ref = TaskRef("images", {"path": str(photos)}, root=str(tmp_path), cache=str(tmp_path / "data"))
    if large:
        monkeypatch.setattr(mapped, "room_bytes", lambda: 1000)
    task = load_task(ref)
    assert isinstance(task, Images)
    assert task.mapped == large
    handed = DataTransfer().in_job(replace(job(tmp_path), task=replace(ref, opened=task)))
    assert (store[0].tensors is None) == large
    if not large:
        monkeypatch.setattr(Images, "_data", property(lambda _: pytest.fail("it read the images again")))
    arrived = OpenedTask(None).in_job(handed).task.opened
    assert isinstance(arrived, Images)
    assert arrived is not task
    for split in ("train", "valid"):
        for one, other in zip(arrived.data(split), task.data(split), strict=True):
            assert torch.equal(one, other)
