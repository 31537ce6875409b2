"""From image files to pixels, once: in parallel, and kept by the content of what was decoded.

Shapes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lab.errors import TaskError
from lab.tasks.images.files import formats
from lab.tasks.images.source import Raw
from lab.tasks.keeping import keep, publish
from lab.tasks.mapped import file_of, make_room, opened
from lab.tasks.memory import reorder

_GRAY = frozenset({"1", "L", "LA", "La"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_DEEP = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_NO_RANGE = frozenset({"I", "F"})
"""Modes of 32 bits, which do not say what is black and what is white: such images count as unreadable."""
_DEEP_IN_32 = frozenset({"PNG", "PPM"})
"""Formats of at most 16 bits, which Pillow keeps in 32 all the same."""
_BITS = (8, 10, 12, 14, 16)
"""In which gray of more than 8 bits is measured, whatever holds it."""
_BITS_PER_SAMPLE = 258
"""The tag of a TIFF."""
_BEHIND = "white"
"""What is seen through the transparent parts of an image: paper."""
_FORM = 2
"""Counted up when the same files come to other pixels, so that what an older version kept is not taken."""


@dataclass(frozen=True)
class Arrangement:
    """The order in which readable images are to lie, those of a split together."""

    name: str
    """What the order depends on, beside the images."""
    order: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    """By the numbers of the images that could be read: their places among them; those of no split are left out."""


@dataclass(frozen=True)
class Pixels:
    """Decoded images uint8 [n, c, h, w], arranged, and the numbers of those that could be read, as they came."""

    values: NDArray[np.uint8]
    kept: NDArray[np.int64]
    bits: int = 16
    """In which gray images of more than 8 bits are measured."""

    def lost(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of all images' names that could not be read."""
        return tuple(names[i] for i in np.setdiff1d(np.arange(len(names)), self.kept))


def decode(
    images: Sequence[Raw],
    names: Sequence[str],
    size: int | None,
    channels: int | None,
    cache: Path | None,
    bits: int | None = None,
    arrangement: Arrangement | None = None,
) -> Pixels:
    """Every readable image as pixels, over white where it is transparent; Pillow's decoders work in parallel threads.

    Args:
        size: side in pixels to which every image is brought (shorter side scaled, centre cropped); None: as they are.
        channels: 1 or 3; None: 1 where every image is gray.
        cache: folder where the result is kept, and taken from when the same images were decoded before.
        bits: in which gray of more than 8 bits is measured; None: as few as hold the highest value of all images.
        arrangement: None: they stay as they came.

    Raises:
        TaskError: no image could be read, they differ in size and none was asked for, or there is no room for them;
            also what `arrangement.order` raises.
    """
    said = (size, channels, bits, *(() if arrangement is None else (arrangement.name,)))
    path = None if cache is None else cache / f"images-{_digest(images, said)}.npz"
    if path is not None and (cached := _load(path)) is not None:
        return cached
    with contextlib.ExitStack() as leftovers:  # files that have no name of their own in the end

        def room(channels: int, height: int, width: int) -> NDArray[np.uint8]:
            values = make_room(
                f"{len(images)} images of {width}x{height} pixels",
                (len(images), channels, height, width),
                cache,
                "say size: PIXELS to have them smaller, or limit: IMAGES to take a part",
            )
            if (file := file_of(values)) is not None:
                leftovers.callback(file.unlink, missing_ok=True)
            return values

        decoded = _decoded(images, names, size, channels, bits, room)
        if arrangement is not None:
            reorder(decoded.values, arrangement.order(decoded.kept))
        return decoded if path is None else _kept(path, decoded)


def _decoded(
    images: Sequence[Raw],
    names: Sequence[str],
    size: int | None,
    channels: int | None,
    bits: int | None,
    room: Callable[[int, int, int], NDArray[np.uint8]],
) -> Pixels:
    """The readable images in their order, where `room` says for how many channels and which height and width."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:  # filters are of the whole process
        warnings.simplefilter("ignore")  # damaged EXIF and the like; what Pillow cannot read is counted
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        first = next((image for raw in images if (image := _open(raw, size, bits or _BITS[-1])) is not None), None)
        if not isinstance(first, Image.Image):
            raise TaskError(f"none of {len(images)} images can be read ({names[0]}, ...)")
        values = room(channels or (1 if all(pool.map(_is_gray, images)) else 3), first.height, first.width)

        def put(i: int, bits: int | None) -> int | tuple[tuple[int, int], bool] | None:
            """An image's size and whether it is gray, once it is where it belongs; one at a time in each thread."""
            image = _open(images[i], size, bits)
            if not isinstance(image, Image.Image):
                return image
            if image.size == first.size:
                values[i] = _array(image, values.shape[1])
            return image.size, image.mode == "L"

        answers = list(pool.map(partial(put, bits=bits), range(len(images))))
        deep = [i for i, said in enumerate(answers) if isinstance(said, int)]
        if deep:  # the highest value of all is known now
            highest = max(said for said in answers if isinstance(said, int))
            bits = next(n for n in _BITS if highest < 2**n)
            for i, said in zip(deep, pool.map(partial(put, bits=bits), deep), strict=True):
                answers[i] = said
    good = [said for said in answers if isinstance(said, tuple)]
    kept = np.array([i for i, said in enumerate(answers) if said is not None], dtype=np.int64)
    if len(sizes := {of_image for of_image, _ in good}) > 1:
        ordered = sorted(sizes, key=lambda s: s[0] * s[1])
        low, high = (f"{w}x{h}" for w, h in (ordered[0], ordered[-1]))
        raise TaskError(f"images have {len(ordered)} sizes, from {low} to {high} pixels; say size: PIXELS")
    for position, i in enumerate(kept):
        if position < i:
            values[position] = values[i]
    values = values[: len(kept)]
    if channels is None and values.shape[1] == 3 and all(gray for _, gray in good):  # one that cannot be read is not
        colored, values = values, room(1, first.height, first.width)[: len(kept)]
        for row in range(len(kept)):
            values[row] = colored[row, :1]
    return Pixels(values, kept, bits or _BITS[-1])


def _kept(path: Path, decoded: Pixels) -> Pixels:
    """What was decoded, kept beside what is known of it where it lies in a file already."""
    values, kept, bits = decoded.values, decoded.kept, decoded.bits
    written = file_of(values)
    if written is None:
        keep(path, lambda file: np.savez(file, values=values, kept=kept, bits=bits))
        return decoded
    publish(written, _mapped(path))
    keep(path, lambda file: np.savez(file, shape=values.shape, kept=kept, bits=bits))
    return Pixels(opened(_mapped(path), values.shape), kept, bits)


def _mapped(path: Path) -> Path:
    """Where the pixels lie that are too many to be read into memory."""
    return path.with_suffix(".pixels")


def _is_gray(raw: Raw) -> bool:
    """Whether an image is gray, by the head of its file; one that has none is left to others."""
    if isinstance(raw, np.ndarray):
        return raw.ndim == 2 or raw.shape[2] == 1
    try:
        with Image.open(raw if isinstance(raw, Path) else io.BytesIO(raw), formats=tuple(formats())) as image:
            return image.mode in _GRAY | _DEEP | _NO_RANGE
    except Exception:  # as in `_open`
        return True


def _open(raw: Raw, size: int | None, bits: int | None) -> Image.Image | int | None:
    """An image of mode L or RGB, turned as its EXIF says, and brought to size; None where it cannot be read.

    Gray of more than 8 bits is its highest value instead, as long as nothing says in how many bits it is measured.
    """
    try:
        if isinstance(raw, np.ndarray):
            image = Image.fromarray(raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw)
        else:
            content = io.BytesIO(raw.read_bytes() if isinstance(raw, Path) else raw)
            image = Image.open(content, formats=tuple(formats()))
        image.load()
        turned = ImageOps.exif_transpose(image)
        if turned.mode in _DEEP or (turned.mode == "I" and image.format in _DEEP_IN_32):
            values = _deep(turned, image)
            if bits is None:
                return int(values.max())
            plain = Image.fromarray(np.minimum(values >> (bits - 8), 255).astype(np.uint8))
        elif turned.mode in _NO_RANGE:
            return None
        else:
            plain = _opaque(turned).convert("L" if turned.mode in _GRAY else "RGB")
        return plain if size is None else ImageOps.fit(plain, (size, size))
    except Exception:  # a damaged file makes Pillow's decoders raise anything
        return None


def _opaque(image: Image.Image) -> Image.Image:
    """An image over one colour; what Pillow would show of it else is whatever colour its transparent pixels have."""
    if image.mode not in _ALPHA and "transparency" not in image.info:
        return image
    over = Image.new("RGBA", image.size, _BEHIND)
    over.alpha_composite(image.convert("RGBA"))
    return over


def _deep(turned: Image.Image, opened: Image.Image) -> NDArray[np.int64]:
    """Gray of up to 16 bits, in the range that its file says; Pillow would cut off what is above 255."""
    values = np.asarray(turned).astype(np.int64)
    clear = opened.info.get("transparency")
    said = getattr(opened, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
    values = values << max(16 - int(said), 0)
    return np.where(values == clear, 0xFFFF, values) if isinstance(clear, int) else values


def _array(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _digest(images: Sequence[Raw], said: Sequence[object]) -> str:
    digest = hashlib.sha256(" ".join(map(str, [_FORM, *said, len(images)])).encode())
    for raw in images:
        if isinstance(raw, np.ndarray):
            digest.update(np.ascontiguousarray(raw).tobytes())
        else:
            digest.update(hashlib.sha256(_content(raw) if isinstance(raw, Path) else raw).digest())
    return digest.hexdigest()[:24]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it will count as unreadable
        return b""


def _load(path: Path) -> Pixels | None:
    """What was kept; None where there is nothing, or nothing whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # numpy leaves a broken one open
            kept, bits = arrays["kept"], int(arrays["bits"])
            if "values" in arrays:
                return Pixels(arrays["values"], kept, bits)
            return Pixels(opened(_mapped(path), tuple(map(int, arrays["shape"]))), kept, bits)
    except Exception:  # a damaged archive makes its readers raise anything
        return None
