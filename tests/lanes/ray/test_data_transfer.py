"""What the driver read reaches lanes: as tensors, or, where these lie in a file, as the file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from torch import nn

from lab.errors import EngineError
from lab.lanes.ray.data_transfer import DataTransfer, OpenedTask, leave_reader
from lab.spec.plan import TaskRef
from lab.tasks import mapped
from lab.tasks.images.task import Images
from lab.tasks.load import load_task
from lab.tasks.task import Task
from tests.lanes.test_engines import job
from tests.own_data import write_folders
from tests.tasks.test_distributed import Faked, X, Y


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


class _Parted(Task):
    """A task of which a part stays with the Ray that made it."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise ValueError("owner is unknown")

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(4, 2)

    def data(self, split: Any) -> Any:
        return Faked({"x": X, "label": Y})


def test_the_ray_by_which_data_were_read_is_left_and_no_other(monkeypatch: pytest.MonkeyPatch):
    left: list[bool] = []
    monkeypatch.setattr(ray, "shutdown", lambda: left.append(True))
    task = _Parted()
    leave_reader(None)
    leave_reader(TaskRef("parted", opened=task, instance=task))
    assert not left
    task.data("train")
    leave_reader(TaskRef("parted", opened=task))
    assert left == [True]
    with pytest.raises(
        EngineError, match=r"^task: _Parted cannot travel to lanes on Ray \(ValueError\); where it holds"
    ):
        leave_reader(TaskRef("parted", opened=task, instance=task))
