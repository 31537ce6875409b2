"""The study folder: written whole or not at all, read without trust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lab.errors import RecordError
from lab.record.folder import Record, locked, read_json, write_bytes, write_json


def test_json_comes_back_with_nan_and_infinities_as_null(tmp_path: Path):
    path = tmp_path / "a" / "b.json"
    value = {"x": np.float64(1.5), "n": np.int64(2), "t": (np.nan, -np.inf, np.array([1.0, np.nan])), 3: np.bool_(True)}
    write_json(path, value)
    assert read_json(path) == {"x": 1.5, "n": 2, "t": [None, None, [1.0, None]], "3": True}


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "f.json"
    write_bytes(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"f\.json: cannot be written \(No space left on device\)"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_can_be_read_by_others(tmp_path: Path):
    write_bytes(tmp_path / "f", b"x")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"3", b"\xff\xfe", b'{"a": 1'])
def test_what_is_no_json_object_is_refused_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "f.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path):
    with pytest.raises(RecordError, match="does not exist"):
        read_json(tmp_path / "none")
    with pytest.raises(RecordError, match="cannot be read"):
        read_json(tmp_path)


def test_a_driver_deletes_what_a_killed_one_left_half_written(tmp_path: Path):
    record = Record(tmp_path)
    stale = [tmp_path / ".study.yaml.abcdefgh.part", record.final_folder / ".0000-0.safetensors.abcdefgh.part"]
    kept = [tmp_path / "notes.part.txt", tmp_path / ".study.yaml.hgfedcba.part"]
    for path in (*stale, *kept):
        write_bytes(path, b"x")
    for path in stale:
        os.utime(path, (0, 0))
    with record.driver_lock():
        assert [path.exists() for path in (*stale, *kept)] == [False, False, True, True]


def test_a_lock_names_who_holds_it(tmp_path: Path):
    message = rf"in use by the first, process {os.getpid()} on \S+, since \d"
    with locked(tmp_path / ".lock", "the first"), pytest.raises(RecordError, match=message):
        locked(tmp_path / ".lock", "the second").__enter__()
    with locked(tmp_path / ".lock", "the second"):
        assert "the second" in (tmp_path / ".lock").read_text()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path):
    code = (
        "import os, pathlib, sys; from lab.record.folder import locked; "
        "locked(pathlib.Path(sys.argv[1]), 'a').__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / ".lock")], check=False)
    with locked(tmp_path / ".lock", "b"):
        pass


def test_a_record_says_what_is_missing(tmp_path: Path):
    with pytest.raises(RecordError, match="is not a folder"):
        Record(tmp_path / "none").require()
    record = Record(tmp_path)
    with pytest.raises(RecordError, match=r"holds no study \(study\.yaml is missing\)"):
        record.require()
    record.spec_path.write_text("name: x")
    assert record.require() is record


def test_what_a_stage_wrote_is_read_as_it_stands(tmp_path: Path):
    record = Record(tmp_path)
    assert record.artefact("explore") is None
    write_json(record.artefact_path("explore"), {"trials": 3, "share": np.nan})
    assert (
        record.artefact("explore")
        == json.loads((tmp_path / "explore.json").read_text())
        == {"trials": 3, "share": None}
    )
