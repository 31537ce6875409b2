"""Arrays of a user's file: one line on what is wrong with it, whatever that makes its readers raise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lab.errors import TaskError
from lab.tasks.arrays import read_array, read_npz


def test_an_archive_of_a_version_that_nobody_reads_is_refused(tmp_path: Path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.ones((3, 2)))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 4 : at + 10] = b"\xff" * 6
    path.write_bytes(content)
    with pytest.raises(TaskError, match=r"x.npz: cannot be read \("):
        read_array(path)


def test_what_is_named_is_read_or_the_only_one(tmp_path: Path):
    np.savez(tmp_path / "one.npz", other=np.ones(3))
    assert read_npz(tmp_path / "one.npz", "x").tolist() == [1, 1, 1]
    np.savez(tmp_path / "two.npz", a=np.ones(3), b=np.ones(3))
    with pytest.raises(TaskError, match=r"has arrays \['a', 'b'\]; one named 'x' is needed"):
        read_npz(tmp_path / "two.npz", "x")
