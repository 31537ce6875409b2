"""Files of kilobytes that say they hold terabytes are refused before room is made for them."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lab.errors import TaskError
from lab.tasks import mapped, memory
from lab.tasks.arrays import read_array, read_npz
from lab.tasks.images.decode import decode
from lab.tasks.images.source import open_source
from lab.tasks.memory import check_fits, reorder, room_bytes
from lab.tasks.table import frame
from lab.tasks.table.frame import read_frame


def _npz(path: Path, header: bytes, body: bytes = b"\0" * 64) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header + body)
    return path


def _header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _header((10**12, 8)),
        _header((2**62, 2**62)),
        _header((8, 2)),
        b"\x93NUMPY\x03\x00" + _header((10**12,))[8:10] + b"\0\0" + _header((10**12,))[10:],
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x09\x00",
        b"nothing of the kind",
    ],
)
def test_an_array_that_is_not_as_long_as_it_says_is_refused(content: bytes, tmp_path: Path):
    path = _npz(tmp_path / "x.npz", content)
    with pytest.raises(TaskError, match=r"x\.npz: (array 'x' says that it has \d+ bytes, and has 64|cannot be read)"):
        read_array(path)


def test_an_array_as_long_as_it_says_is_read_and_one_longer_than_the_memory_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = np.arange(6.0).reshape(3, 2)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", x=values)
        assert (read_npz(tmp_path / "x.npz", "x") == values).all()
    monkeypatch.setattr(memory, "room_bytes", lambda: 40)
    with pytest.raises(TaskError, match=r"x\.npz: needs .* GiB of memory once it is read, and there are"):
        read_npz(tmp_path / "x.npz", "x")


def test_a_parquet_with_more_rows_than_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a parquet of kilobytes may have: a value that repeats is written once."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": pa.array([b"x"] * 100_000), "label": pa.array([1] * 100_000)}), path)
    assert path.stat().st_size < 5000
    monkeypatch.setattr(memory, "room_bytes", lambda: 50_000)
    for read in (lambda: read_frame(path), lambda: open_source(str(path))):
        with pytest.raises(TaskError, match=r"x\.parquet: needs .* GiB of memory"):
            read()


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-8] + b"\xff\xff\xff\x7fPAR1", lambda c: c[: len(c) // 2], lambda c: c[::-1]]
)
def test_a_damaged_parquet_is_one_line(damage: object, tmp_path: Path):
    path = tmp_path / "x.parquet"
    pd.DataFrame({"a": range(100), "b": list("xy") * 50}).to_parquet(path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(TaskError, match=r"x\.parquet: cannot be read \("):
        read_frame(path)


def test_there_is_room_for_something():
    room = room_bytes()
    assert room is None or room > 2**28
    check_fits(Path("x"), 2**20)


def test_a_text_file_whose_cells_do_not_fit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 10_000)
    monkeypatch.setattr(memory, "room_bytes", lambda: 36 * 10_000 + 1_000)
    assert len(read_frame(path)) == 10_000
    monkeypatch.setattr(memory, "room_bytes", lambda: 36 * 10_000 - 1_000)
    monkeypatch.setattr(frame, "_text_parts", pytest.fail)
    with pytest.raises(
        TaskError, match=r"x\.csv: needs .* GiB of memory .*; take a part of its rows, or fewer columns"
    ):
        read_frame(path)


def test_images_that_do_not_fit_are_refused_before_room_is_made_for_them(monkeypatch: pytest.MonkeyPatch):
    images = [np.zeros((8, 4, 3), dtype=np.uint8)] * 10
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    monkeypatch.setattr(mapped, "room_bytes", lambda: 10 * 8 * 4 * 3)
    assert decode(images, ["x"] * 10, None, None, None).values.shape == (10, 3, 8, 4)
    monkeypatch.setattr(mapped, "room_bytes", lambda: 10 * 8 * 4 * 3 - 1)
    monkeypatch.setattr(np, "empty", pytest.fail)
    with pytest.raises(TaskError, match=r"^10 images of 4x8 pixels: needs .* GiB .*; say size: PIXELS .*limit: IMAGES"):
        decode(images, ["x"] * 10, None, None, None)


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_brought_into_order_in_place(seed: int):
    random = np.random.default_rng(seed)
    values = np.arange(20)[:, None] * [1, 10]
    order = random.permutation(20)[: random.integers(0, 21)]
    reorder(values, order)
    assert values[: len(order), 0].tolist() == order.tolist()
    assert sorted(values[:, 1].tolist()) == list(range(0, 200, 10))
