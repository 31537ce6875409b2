"""Image files of every mode and format, sound and damaged, and other files in their place, from fixed seeds."""

from __future__ import annotations

import io
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.tasks.images.task import Images
from tests.fuzz.outcome import faults, looked_at
from tests.own_data import encoded, pixels

BLOCKS, EACH = 6, 24

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
FORMATS = (
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "PPM",
    "TGA",
    "ICO",
    "PCX",
    "JPEG2000",
    "SGI",
    "DDS",
    "PDF",
    "EPS",
)
SUFFIXES = (".png", ".jpg", ".gif", ".bmp", ".tif", ".webp", ".PNG", ".jfif", ".ppm", ".txt", "", ".npz", ".heic")


def _header(width: int, height: int) -> bytes:
    """A PNG that says so many pixels, and holds none."""
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    chunk = len(body[4:]).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk


def _image(draw: random.Random) -> bytes:
    """A file in some mode and format; of a pair that Pillow does not write, a PNG."""
    side = draw.choice([(8, 8), (8, 8), (1, 1), (3, 40), (40, 3), (33, 17)])
    array = np.random.default_rng(draw.randrange(10**6)).integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
    image = Image.fromarray(array)
    stream = io.BytesIO()
    try:
        image = image.convert(draw.choice(MODES)) if draw.random() < 0.9 else image
        more: dict[str, Any] = {}
        if draw.random() < 0.2:
            exif = Image.Exif()
            exif[0x0112] = draw.randrange(12)
            more["exif"] = exif
        if draw.random() < 0.2:
            more["transparency"] = draw.choice([0, 255, 3, b"\0\xff", (1, 2, 3)])
        if draw.random() < 0.15:
            more |= {"save_all": True, "append_images": [image, image.rotate(90)]}
        image.save(stream, draw.choice(FORMATS), **more)
    except Exception:  # not a pair that is written
        return encoded(array)
    return stream.getvalue()


def _content(draw: random.Random) -> bytes:
    kind = draw.random()
    if kind < 0.05:
        return draw.choice(
            [b"", b"\0", b"GIF89a", b"%PDF-1.4", b"<svg/>", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"PK\x03\x04"]
        )
    if kind < 0.1:
        return draw.randbytes(draw.choice([1, 10, 1000]))
    if kind < 0.15:
        return _header(*draw.choice([(0, 0), (60_000, 60_000), (2**31 - 1, 1), (1, 2**31), (5, 5)]))
    content = bytearray(_image(draw))
    if kind < 0.55:
        for _ in range(draw.randint(1, 8)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    if kind < 0.35:
        del content[draw.randrange(len(content)) :]
    return bytes(content)


def _folder(root: Path, draw: random.Random) -> Path:
    """Two classes of sound images, and among them a few that may be anything."""
    good = pixels(12, draw.choice([(8, 8, 3), (8, 8)]), seed=draw.randrange(99))
    for i, array in enumerate(good):
        folder = root / ("dark", "bright")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes(encoded(array))
    for i in range(draw.randint(1, 3)):
        folder = root / draw.choice(["dark", "bright", "other", ".", "train", "__MACOSX", "na\u00efve \u202e"])
        folder.mkdir(parents=True, exist_ok=True)
        stem = draw.choice(["x", "._x", "a b", "=1", "n\u0301"])
        name = folder / f"{stem}{i}{draw.choice(SUFFIXES)}"
        if draw.random() < 0.9:
            name.write_bytes(_content(draw))
        elif draw.random() < 0.5:
            name.symlink_to(root / "nowhere.png")
        else:
            name.mkdir(exist_ok=True)
    return root


def _array(root: Path, draw: random.Random) -> Path:
    """An npz, with x and y of shapes and types that fit or do not."""
    root.mkdir()
    shape = draw.choice([(12, 8, 8), (12, 8, 8, 3), (12, 8, 8, 1), (12, 8, 8, 4), (0, 8, 8), (12, 0, 8), (12,), ()])
    x = np.zeros(shape, dtype=draw.choice(["uint8", "uint8", "uint8", "int64", "float32", "bool", "U3"]))
    labels: list[Any] = [
        np.arange(12) % 2,
        np.arange(12) % 2 == 0,
        np.array(list("ab") * 6),
        np.arange(12) / 3,
        np.eye(12, 3, dtype=int),
        np.arange(11),
        np.array([[2, 0]] * 12),
        np.array([None, 1] * 6, dtype=object),
        np.array([2**63, 1] * 6, dtype="uint64"),
        np.array(["2024-01-01"] * 12, dtype="datetime64[D]"),
        np.array(3),
    ]
    arrays = {"x": x, "y": draw.choice(labels)}
    if draw.random() < 0.1:
        del arrays[draw.choice(["x", "y"])]
    path = root / "images.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    if draw.random() < 0.3:
        content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
    return path


def _use(options: dict[str, Any]) -> None:
    task = Images(**options)
    looked_at(task)
    assert task.model_input(task.data("test")[0]).isfinite().all()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_images_are_taken_or_refused_in_one_line(block: int, tmp_path: Path):
    def cases() -> Any:
        for seed in range(block * EACH, (block + 1) * EACH):
            draw = random.Random(seed)
            make = _array if seed % 4 == 0 else _folder
            options: dict[str, Any] = {"path": str(make(tmp_path / str(seed), draw)), "max_unreadable": 0.5}
            if draw.random() < 0.7:
                options["size"] = draw.choice([8, 16, 1])
            if draw.random() < 0.2:
                options |= draw.choice(
                    [{"limit": 6}, {"class_names": ["a", "b"]}, {"split": "random"}, {"metric": "auc"}]
                )
            yield f"seed {seed} {options}", lambda options=options: _use(options)

    faulty = faults(cases())
    assert not faulty, "\n".join(faulty)
