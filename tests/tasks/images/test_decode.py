"""Pixels from files: exact for PNG, turned, brought to size, kept; what is damaged or a bomb is left out."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.errors import TaskError
from lab.tasks.images.decode import decode
from tests.own_data import encoded, pixels


def _decode(images: list[Any], size: int | None = None, channels: int | None = None, cache: Path | None = None) -> Any:
    return decode(images, [f"image {i}" for i in range(len(images))], size, channels, cache)


def _file(image: Image.Image, format: str = "PNG", **more: Any) -> bytes:  # noqa: A002 - Pillow's word
    stream = io.BytesIO()
    image.save(stream, format, **more)
    return stream.getvalue()


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_pixels_come_as_they_are(as_file: bool, shape: tuple[int, ...], tmp_path: Path):
    x = pixels(3, shape)
    images: list[Any] = [encoded(array) for array in x]
    if as_file:
        for i, content in enumerate(images):
            (tmp_path / f"{i}.png").write_bytes(content)
        images = [tmp_path / f"{i}.png" for i in range(3)]
    found = _decode(images)
    np.testing.assert_array_equal(found.values, x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2))
    assert found.kept.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(_decode(list(x)).values, found.values)


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "YCbCr", "LAB"])
@pytest.mark.parametrize("size", [None, 4])
def test_colours_of_every_mode_become_three_channels(mode: str, size: int | None):
    flat = Image.new("RGB", (8, 8), (200, 40, 90))
    found = _decode([_file(flat.convert(mode), "TIFF")], size)
    assert found.values.shape == (1, 3, size or 8, size or 8)
    if mode != "LAB":  # Pillow converts it without a profile
        np.testing.assert_allclose(found.values.mean(axis=(0, 2, 3)), (200, 40, 90), atol=4)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
@pytest.mark.parametrize("size", [None, 4])
def test_gray_of_every_mode_is_one_channel(mode: str, size: int | None):
    found = _decode([_file(Image.new("L", (8, 8), 255).convert(mode))], size)
    assert found.values.shape == (1, 1, size or 8, size or 8)
    assert (found.values == 255).all()


def test_sixteen_bits_are_scaled_and_not_cut_off():
    values = np.array([[0, 255, 256, 0x1234], [0x7FFF, 0x8000, 0xFF00, 0xFFFF]], dtype=np.uint16)
    found = _decode([_file(Image.fromarray(values))])
    np.testing.assert_array_equal(found.values[0, 0], values >> 8)


def test_pixels_of_32_bits_have_no_known_range_and_count_as_unreadable():
    good, deep = encoded(pixels()[0]), Image.fromarray(np.zeros((8, 8), dtype=np.float32))
    assert _decode([good, _file(deep, "TIFF")]).kept.tolist() == [0]


def test_a_colour_image_makes_all_colour_unless_gray_is_asked_for():
    mixed = [encoded(pixels(1, (8, 8))[0]), encoded(pixels()[0])]
    assert _decode(mixed).values.shape == (2, 3, 8, 8)
    assert _decode(mixed, channels=1).values.shape == (2, 1, 8, 8)


@pytest.mark.parametrize(("orientation", "turn"), [(3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1))])
def test_images_are_turned_as_their_exif_says(orientation: int, turn: Any):
    x = pixels(1, (4, 6))[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = _decode([_file(Image.fromarray(x), "PNG", exif=exif)])
    np.testing.assert_array_equal(found.values[0, 0], turn(x))


def test_a_size_scales_the_shorter_side_and_crops_the_centre():
    left_to_right = np.repeat(np.repeat(np.arange(3, dtype=np.uint8) * 100, 4)[None], 4, axis=0)  # 4 high, 12 wide
    found = _decode([encoded(left_to_right), encoded(left_to_right.T.copy())], size=4)
    assert (found.values == 100).all()


def test_images_of_one_pixel():
    assert _decode([encoded(pixels(1, (1, 1, 3))[0])]).values.shape == (1, 3, 1, 1)
    assert _decode([encoded(pixels(1, (1, 50, 3))[0])], size=8).values.shape == (1, 3, 8, 8)


def test_sizes_that_differ_are_refused_with_what_to_say():
    mixed = [encoded(pixels(1, shape)[0]) for shape in ((8, 8, 3), (9, 30, 3), (8, 9, 3))]
    with pytest.raises(TaskError, match=r"^images have 3 sizes, from 8x8 to 30x9 pixels; say size: PIXELS"):
        _decode(mixed)
    assert _decode(mixed, size=8).values.shape == (3, 3, 8, 8)


def _bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that unpacks to `side` squared pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    row = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def test_what_cannot_be_read_is_left_out(tmp_path: Path):
    good = encoded(pixels()[0])
    (tmp_path / "cut.png").write_bytes(good[:60])
    images = [good, b"", b"no image", good[:60], tmp_path / "cut.png", tmp_path / "gone.png", good]
    images += [_bomb(12_000), _bomb(30_000), good.replace(b"IDAT", b"IDAX"), b"II*\0" + b"\xff" * 60]
    assert _decode(images, cache=tmp_path / "cache").kept.tolist() == [0, 6]


def test_warnings_of_the_process_stay_as_they_were():
    before = list(warnings.filters)
    _decode([encoded(pixels()[0]), _bomb(12_000)] * 4)
    assert list(warnings.filters) == before


def test_nothing_to_read_is_refused():
    with pytest.raises(TaskError, match=r"^none of 2 images can be read \(image 0, \.\.\.\)"):
        _decode([b"a", b"b"])


def test_what_was_decoded_is_kept_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = [encoded(array) for array in pixels(3)] + [b"no image"]
    first = _decode(images, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr("lab.tasks.images.decode._open", None)
    again = _decode(images, cache=tmp_path)
    np.testing.assert_array_equal(again.values, first.values)
    assert again.kept.tolist() == [0, 1, 2]
    monkeypatch.undo()
    for other in ({"size": 4}, {"channels": 1}):
        _decode(images, cache=tmp_path, **other)
    _decode(images[:2], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    kept.write_bytes(kept.read_bytes()[:100])  # a kill, or a full disk
    np.testing.assert_array_equal(_decode(images, cache=tmp_path).values, first.values)
    assert not list(tmp_path.glob("*.part"))
