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


def _decode(
    images: list[Any],
    size: int | None = None,
    channels: int | None = None,
    cache: Path | None = None,
    bits: int | None = None,
) -> Any:
    return decode(images, [f"image {i}" for i in range(len(images))], size, channels, cache, bits)


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
    decoded = _decode(images)
    np.testing.assert_array_equal(decoded.values, x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2))
    assert decoded.kept.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(_decode(list(x)).values, decoded.values)


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "YCbCr", "LAB"])
@pytest.mark.parametrize("size", [None, 4])
def test_colours_of_every_mode_become_three_channels(mode: str, size: int | None):
    flat = Image.new("RGB", (8, 8), (200, 40, 90))
    decoded = _decode([_file(flat.convert(mode), "TIFF")], size)
    assert decoded.values.shape == (1, 3, size or 8, size or 8)
    if mode != "LAB":  # Pillow converts it without a profile
        np.testing.assert_allclose(decoded.values.mean(axis=(0, 2, 3)), (200, 40, 90), atol=4)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
@pytest.mark.parametrize("size", [None, 4])
def test_gray_of_every_mode_is_one_channel(mode: str, size: int | None):
    decoded = _decode([_file(Image.new("L", (8, 8), 255).convert(mode))], size)
    assert decoded.values.shape == (1, 1, size or 8, size or 8)
    assert (decoded.values == 255).all()


def test_sixteen_bits_are_scaled_and_not_cut_off():
    values = np.array([[0, 255, 256, 0x1234], [0x7FFF, 0x8000, 0xFF00, 0xFFFF]], dtype=np.uint16)
    decoded = _decode([_file(Image.fromarray(values))])
    np.testing.assert_array_equal(decoded.values[0, 0], values >> 8)


SHAPE = np.zeros((8, 8), dtype=np.uint8)
SHAPE[2:5, 3:7] = 255
"""Opaque where 255: the shape of an icon is often in its transparency alone."""


def _transparent(mode: str) -> Image.Image:
    """Black on black, of which only `SHAPE` is opaque."""
    if mode in ("RGBA", "LA", "PA"):
        image = Image.new("LA" if mode == "LA" else "RGBA", (8, 8))
        image.putalpha(Image.fromarray(SHAPE))
        return image.convert(mode)
    image = Image.fromarray(255 - SHAPE if mode == "L" else np.where(SHAPE > 0, 0, 1).astype(np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1])
    elif mode == "RGB":
        image = Image.fromarray(np.repeat(np.where(SHAPE > 0, 0, 9)[..., None], 3, axis=2).astype(np.uint8))
    image.info["transparency"] = {"L": 255, "P": 1, "RGB": (9, 9, 9)}[mode]
    return image


@pytest.mark.parametrize(
    ("mode", "format_"),
    [
        *(("RGBA", name) for name in ("PNG", "TIFF", "WEBP")),
        *(("P", name) for name in ("PNG", "GIF")),
        *((mode, "PNG") for mode in ("LA", "L", "RGB")),
    ],
)
def test_what_is_transparent_is_seen_over_white(mode: str, format_: str):
    image = _transparent(mode)
    more = {"lossless": True} if format_ == "WEBP" else {}
    if "transparency" in image.info:
        more["transparency"] = image.info["transparency"]
    channels = _decode([_file(image, format_, **more)]).values[0]
    for channel in channels:
        np.testing.assert_array_equal(channel, 255 - SHAPE)
    assert len(channels) == (1 if mode in ("L", "LA") else 3)


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (4, 4), (200, 0, 100, 128))
    seen = _decode([_file(image)]).values[0, :, 0, 0]
    np.testing.assert_allclose(seen, [200 + 27, 127, 100 + 77], atol=1)


def test_a_transparent_value_of_sixteen_bits_is_white():
    values = np.array([[7, 0x8000], [0x1234, 7]], dtype=np.uint16)
    seen = _decode([_png_16(values, transparent=7)]).values[0, 0]
    np.testing.assert_array_equal(seen, [[255, 0x80], [0x12, 255]])


def _png_16(values: np.ndarray, transparent: int) -> bytes:
    """A gray PNG of 16 bits with a transparent value, which Pillow does not write."""
    content = _file(Image.fromarray(values))
    chunk = b"tRNS" + struct.pack(">H", transparent)
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    at = content.index(b"IDAT") - 4
    return content[:at] + chunk + content[at:]


@pytest.mark.parametrize(("highest", "bits"), [(200, 8), (1023, 10), (4095, 12), (4096, 14), (0xFFFF, 16)])
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_gray_of_more_than_eight_bits_keeps_its_range_whatever_holds_it(highest: int, bits: int, format_: str):
    ramp = np.linspace(0, highest, 64).astype(np.uint16).reshape(8, 8)
    dark = ramp // 3
    decoded = _decode([_file(Image.fromarray(part), format_) for part in (dark, ramp)])
    assert decoded.bits == bits
    expected = np.stack([dark, ramp]).astype(int) >> (bits - 8)
    np.testing.assert_allclose(decoded.values[:, 0].astype(int), expected, atol=1)
    assert decoded.values.max() >= 64


def test_a_tiff_of_twelve_bits_reaches_white():
    """Two values in three bytes; written by hand, as Pillow only reads it."""
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 6)]
    strip = bytes([0x00, 0x00, 0x80, 0x40, 0x0F, 0xFF])  # 0x000, 0x080, 0x400, 0xFFF
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    content = b"II*\0" + struct.pack("<I", 14) + strip + struct.pack("<H", len(tags)) + table + b"\0" * 4
    assert _decode([content]).values[0, 0].tolist() == [[0, 8, 0x40, 0xFF]]
    deep = Image.fromarray(np.array([[0, 0x800, 0x4000, 0xFFFF]], dtype=np.uint16))
    assert _decode([content, _file(deep)]).values[:, 0].tolist() == [[[0, 8, 0x40, 0xFF]]] * 2


def test_later_images_are_measured_in_the_bits_of_training_and_not_in_their_own():
    dark = np.full((8, 8), 400, dtype=np.uint16)
    assert _decode([_file(Image.fromarray(dark))]).values.max() == 100
    assert _decode([_file(Image.fromarray(dark))], bits=12).values.max() == 25
    assert _decode([_file(Image.fromarray(dark + 6000))], bits=12).values.max() == 255


def test_sixteen_bits_are_turned_as_their_exif_says():
    values = np.arange(24, dtype=np.uint16).reshape(4, 6) << 11
    exif = Image.Exif()
    exif[0x0112] = 3
    decoded = _decode([_file(Image.fromarray(values), exif=exif)])
    np.testing.assert_array_equal(decoded.values[0, 0], values[::-1, ::-1] >> 8)


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
    decoded = _decode([_file(Image.fromarray(x), "PNG", exif=exif)])
    np.testing.assert_array_equal(decoded.values[0, 0], turn(x))


def test_a_size_scales_the_shorter_side_and_crops_the_centre():
    left_to_right = np.repeat(np.repeat(np.arange(3, dtype=np.uint8) * 100, 4)[None], 4, axis=0)  # 4 high, 12 wide
    decoded = _decode([encoded(left_to_right), encoded(left_to_right.T.copy())], size=4)
    assert (decoded.values == 100).all()


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
    deep = _file(Image.fromarray(np.full((8, 8), 999, dtype=np.uint16)))
    images = [encoded(array) for array in pixels(2)] + [deep, b"no image"]
    first = _decode(images, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr("lab.tasks.images.decode._open", None)
    again = _decode(images, cache=tmp_path)
    np.testing.assert_array_equal(again.values, first.values)
    assert (again.kept.tolist(), again.bits) == ([0, 1, 2], 10)
    monkeypatch.undo()
    for other in ({"size": 4}, {"channels": 1}):
        _decode(images, cache=tmp_path, **other)
    _decode(images[:2], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    kept.write_bytes(kept.read_bytes()[:100])  # a kill, or a full disk
    np.testing.assert_array_equal(_decode(images, cache=tmp_path).values, first.values)
    assert not list(tmp_path.glob("*.part"))


def test_what_cannot_be_read_leaves_no_gap_and_makes_no_colour():
    gray = [encoded(array) for array in pixels(3, (5, 7))]
    damaged = _file(Image.new("RGB", (5, 7)))[:-30]
    decoded = _decode([damaged, gray[0], b"nothing", gray[1], damaged, gray[2]])
    assert decoded.kept.tolist() == [1, 3, 5]
    np.testing.assert_array_equal(decoded.values, pixels(3, (5, 7))[:, None])
