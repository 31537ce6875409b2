"""Arrays larger than a share of the memory lie in files, and read the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lab.errors import TaskError
from lab.tasks import mapped
from lab.tasks.mapped import file_of, make_room, opened


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda size: monkeypatch.setattr(mapped, "room_bytes", lambda: size)


def test_room_is_in_memory_up_to_a_quarter_of_it_and_in_a_file_above(tmp_path: Path, memory: Callable[[int], None]):
    memory(400)
    small, large = make_room("x", (10, 10), tmp_path), make_room("x", (101,), tmp_path)
    assert not isinstance(small, np.memmap)
    assert [*tmp_path.iterdir()] == [file_of(large)]
    large[:] = np.arange(101)
    file = file_of(large)
    assert file is not None
    assert file.stat().st_size == 101
    assert opened(file, (101,)).tolist() == [*range(101)]


def test_a_file_without_a_folder_has_no_name_and_is_gone_with_its_array(memory: Callable[[int], None]):
    memory(0)
    values = make_room("x", (7, 3), None)
    values[:] = 5
    assert isinstance(values, np.memmap)
    assert file_of(values) is None
    assert int(values.sum()) == 105


def test_what_is_written_to_an_opened_file_does_not_reach_it(tmp_path: Path):
    (tmp_path / "x").write_bytes(bytes(10))
    opened(tmp_path / "x", (10,))[:] = 1
    assert (tmp_path / "x").read_bytes() == bytes(10)
    with pytest.raises(ValueError, match="mmap length is greater than file size"):
        opened(tmp_path / "x", (11,))


def test_what_fits_nowhere_is_refused_with_the_sizes_and_the_advice(
    tmp_path: Path, memory: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    memory(2**31)
    message = (
        r"^photos: needs 3 GiB once it is read, and there are 2 GiB of memory and 1 GiB of disk at .*; take fewer$"
    )
    with pytest.raises(TaskError, match=message):
        make_room("photos", (3, 2**30), tmp_path, "take fewer")
    assert not [*tmp_path.iterdir()]
    values = make_room("photos", (2**30 + 1,), tmp_path)
    assert not isinstance(values, np.memmap), "the disk is too small, and the memory is not"
