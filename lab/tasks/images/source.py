"""Where images come from: class folders, a parquet of the Hub's schema, an npz, or the `datasets` library.

Shapes: n images, c labels. Nothing is decoded here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lab.errors import SpecError, TaskError, install_extra
from lab.tasks.arrays import npz_names, read_npz
from lab.tasks.images.files import PassedOver, folders_in, is_image, listed
from lab.tasks.memory import check_fits
from lab.tasks.options import HUB
from lab.tasks.table.target import Target

Raw: TypeAlias = Path | bytes | NDArray[np.uint8]
"""A file, a file's content, or pixels [h, w] or [h, w, channels]."""

_IN_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
"""Modes of Pillow that a PNG keeps as they are."""
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""By folders' names, in any case."""
_IMAGE, _LABEL = ("image", "img"), ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Source:
    """Images and what is known of them."""

    images: Sequence[Raw]
    names: tuple[str, ...]
    labels: NDArray[Any] | None
    """Classes int64 [n] as numbers of `class_names`, or labels int64 [n, c] of 0 and 1; of a table also values float32
    [n, t], as its target has them; None where there are none."""
    class_names: tuple[str, ...] = ()
    splits: tuple[str, ...] | None = None
    """Each image's split, where the source says it."""
    empty: tuple[str, ...] = ()
    """Class folders without an image."""
    loose: int = 0
    """Images beside class folders, which have no class."""
    passed_over: PassedOver = field(default_factory=PassedOver)
    """What else lies in its folder."""
    target: Target | None = None
    """What is predicted, where it is a table."""
    without_target: int = 0
    """Rows of a table that have none, and are left out."""


def classes_among(labels: NDArray[Any]) -> NDArray[np.int64] | None:
    """Classes or labels, by which images can be split; None where they are values."""
    return None if labels.dtype.kind == "f" else labels


def relabelled(source: Source, class_names: tuple[str, ...]) -> NDArray[Any]:
    """A source's labels in the numbers of other class names, which hold all of its own."""
    assert source.labels is not None  # asked before
    if source.class_names == class_names:
        return source.labels
    number = np.array([class_names.index(name) for name in source.class_names], dtype=np.int64)
    if source.labels.ndim == 1:
        return np.asarray(number[source.labels])
    labels = np.zeros((len(source.labels), len(class_names)), dtype=np.int64)
    labels[:, number] = source.labels
    return labels


def open_source(path: str, labelled: bool = True) -> Source:
    """Images with their classes; where they need not be `labelled`, a file may lack them.

    Raises:
        TaskError: nothing there, no images, or another schema.
    """
    if path.startswith(HUB):
        return _from_hub(path)
    where = Path(path)
    if not where.exists():
        raise TaskError(f"{path}: does not exist")
    if where.is_dir():
        saved = (where / "dataset_dict.json").exists() or (where / "state.json").exists()
        return _from_datasets(path, _load_saved(where)) if saved else _from_folder(where)
    if where.suffix == ".parquet":
        return _from_parquet(where, labelled)
    if where.suffix == ".npz":
        return _from_npz(where, labelled)
    raise TaskError(f"{path}: is neither a folder, .csv, .parquet nor .npz")


def raw_of(image: Any) -> Raw:
    """An image as Python has it, of Pillow or as the path of a file, as one that has not been decoded.

    Raises:
        TaskError: it is neither, or there is no such file.
    """
    if isinstance(image, (str, Path)):
        if not Path(image).is_file():
            raise TaskError(f"{image}: does not exist")
        return Path(image)
    if not isinstance(image, Image.Image):
        raise TaskError(f"a {type(image).__name__} is no image; give images of Pillow, or paths")
    content, turned = io.BytesIO(), ImageOps.exif_transpose(image)
    (turned if turned.mode in _IN_PNG else turned.convert("RGB")).save(content, format="PNG")
    return content.getvalue()


def plain_images(path: Path) -> Source:
    """Images without classes: one file, or every image below a folder, in the order of their names."""
    if path.is_file() and is_image(path):
        return Source([path], (path.name,), None)
    files, passed_over = listed(path) if path.is_dir() else ([], PassedOver())
    if not files:
        reason = "; ".join(passed_over.lines()) or ".bmp, .gif, .jpg, .png, .tif, .webp or what else Pillow reads"
        raise TaskError(f"{path}: holds no images ({reason})")
    names = tuple(str(file.relative_to(path)) for file in files)
    return Source(files, names, None, passed_over=passed_over)


def _from_folder(folder: Path) -> Source:
    below = folders_in(folder)
    of_split = {f: _SPLITS[f.name.lower()] for f in below if f.name.lower() in _SPLITS}
    others = [f.name for f in below if of_split and f not in of_split and listed(f)[0]]
    if len(set(of_split.values())) > 1 and others and all(folders_in(f) for f in of_split):
        reason = ", ".join(f.name for f in of_split)
        raise TaskError(
            f"{folder}: {reason} look like splits, and {', '.join(others)} beside them like none; take those out"
        )
    by_split = bool(of_split) and not others
    roots = of_split if by_split else {folder: ""}
    classes = {label: split for root, split in roots.items() for label in folders_in(root)}
    images, passed_over = listed(folder, {*roots, *classes})
    depth = 2 if by_split else 1
    placed = [(file, folder.joinpath(*file.relative_to(folder).parts[:depth])) for file in images]
    labelled = [(file, label.name, classes[label]) for file, label in placed if label in classes]
    loose = len(images) - len(labelled)
    if not labelled:
        reason = f"{loose} images lie outside class folders" if loose else "; ".join(passed_over.lines()) or "is empty"
        raise TaskError(f"{folder}: {reason}; a folder per class is needed, such as {folder.name}/cat/1.png")
    class_names = tuple(sorted({label for _, label, _ in labelled}))
    labels = {label.name for label in classes}
    number = {name: i for i, name in enumerate(class_names)}
    return Source(
        [file for file, _, _ in labelled],
        tuple(str(file.relative_to(folder)) for file, _, _ in labelled),
        np.array([number[label] for _, label, _ in labelled], dtype=np.int64),
        class_names,
        tuple(split for _, _, split in labelled) if by_split else None,
        tuple(sorted(labels - set(class_names))),
        loose,
        passed_over,
    )


def _from_parquet(path: Path, labelled: bool) -> Source:
    try:
        check_fits(path, pq.read_metadata(path).num_rows)
        table = pq.read_table(path)
    except TaskError:
        raise
    except Exception as error:  # a damaged file makes Arrow raise errors of many kinds
        raise TaskError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    image = next((name for name in _IMAGE if name in table.column_names), None)
    label = next((name for name in _LABEL if name in table.column_names), None)
    if image is None or (label is None and labelled):
        raise TaskError(
            f"{path}: has columns {', '.join(table.column_names)}; needed are image (or img) with bytes, and label"
        )
    cells = table.column(image).to_pylist()
    if not cells:
        raise TaskError(f"{path}: has no rows")
    if not all(isinstance(cell, bytes) or (isinstance(cell, dict) and cell.get("bytes")) for cell in cells):
        raise TaskError(f"{path}: column '{image}' does not hold the bytes of an image file in every row")
    images = [cell if isinstance(cell, bytes) else cell["bytes"] for cell in cells]
    names = tuple(
        str((cell.get("path") if isinstance(cell, dict) else None) or f"row {i}") for i, cell in enumerate(cells)
    )
    if label is None:
        return Source(images, names, None)
    declared = _names_in(table.schema.metadata, label)
    labels, class_names = _labels(table.column(label).to_pylist(), declared, f"{path}: column '{label}'")
    return Source(images, names, labels, class_names)


def _names_in(metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...]:
    """Class names that the Hub's writer keeps in a parquet's metadata."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def _labels(values: Sequence[Any], declared: tuple[str, ...], column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Classes or labels as numbers, from numbers, texts or lists of them."""
    if any(value is None for value in values):
        raise TaskError(f"{column} has no value in row {next(i for i, v in enumerate(values) if v is None) + 1}")
    several = any(isinstance(value, list) for value in values)
    if several and not all(isinstance(value, list) for value in values):
        raise TaskError(f"{column} holds lists in some rows and single values in others")
    flat = [item for value in values for item in value] if several else list(values)
    if not all(isinstance(item, (int, str)) for item in flat):
        raise TaskError(f"{column} holds neither whole numbers, texts nor lists of them")
    if declared and all(isinstance(item, int) and 0 <= item < len(declared) for item in flat):
        number: dict[Any, int] = {i: i for i in range(len(declared))}
        class_names = declared
    else:
        levels = sorted(set(flat), key=lambda item: (isinstance(item, str), item))
        number = {level: i for i, level in enumerate(levels)}
        class_names = tuple(str(level) for level in levels)
    if not several:
        return np.array([number[value] for value in values], dtype=np.int64), class_names
    labels = np.zeros((len(values), len(class_names)), dtype=np.int64)
    for row, value in enumerate(values):
        labels[row, [number[item] for item in value]] = 1
    return labels, class_names


def _from_npz(path: Path, labelled: bool) -> Source:
    pixels = read_npz(path, "x")
    if pixels.ndim not in (3, 4) or 0 in pixels.shape or pixels.dtype != np.uint8:
        raise TaskError(
            f"{path}: array x is {pixels.dtype} {pixels.shape}; needed is uint8 [n, h, w] or [n, h, w, channels]"
        )
    if pixels.ndim == 4 and pixels.shape[3] not in (1, 3):
        raise TaskError(f"{path}: array x has {pixels.shape[3]} channels last; 1 or 3 are possible")
    names = tuple(f"row {i}" for i in range(len(pixels)))
    if "y" not in npz_names(path):
        if labelled:
            raise TaskError(f"{path}: has no array y with the labels")
        return Source(list(pixels), names, None)
    y = read_npz(path, "y")
    if y.ndim not in (1, 2) or len(y) != len(pixels):
        raise TaskError(f"{path}: array y has shape {y.shape}; needed is [{len(pixels)}] or [{len(pixels)}, c]")
    if y.ndim == 2:
        if not np.isin(y, (0, 1)).all():
            raise TaskError(f"{path}: array y [n, c] holds something else than 0 and 1")
        return Source(list(pixels), names, y.astype(np.int64), tuple(str(i) for i in range(y.shape[1])))
    labels, class_names = _labels(y.tolist(), (), f"{path}: array y")
    return Source(list(pixels), names, labels, class_names)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise SpecError("task.path", f"a data set of the Hub needs: {install_extra('hub')}") from None
    return datasets


def _from_hub(path: str) -> Source:
    name = path.removeprefix(HUB)
    try:
        return _from_datasets(path, _datasets().load_dataset(name))
    except (OSError, ValueError) as error:
        raise TaskError(f"{path}: cannot be loaded ({' '.join(str(error).split())})") from error


def _load_saved(folder: Path) -> Any:
    try:
        return _datasets().load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise TaskError(f"{folder}: cannot be loaded ({' '.join(str(error).split())})") from error


def _from_datasets(path: str, saved: Any) -> Source:
    """A `Dataset`, or a `DatasetDict` whose splits are kept."""
    library = _datasets()
    parts = dict(saved) if isinstance(saved, dict) else {"": saved}
    features = next(iter(parts.values())).features
    image = next((name for name in _IMAGE if name in features), None)
    label = next((name for name in _LABEL if name in features), None)
    if image is None or label is None:
        raise TaskError(f"{path}: has columns {', '.join(features)}; needed are image (or img), and label")
    class_label = getattr(getattr(features[label], "feature", features[label]), "names", None)
    images: list[Raw] = []
    values: list[Any] = []
    splits: list[str] = []
    for name, part in parts.items():
        cells = part.cast_column(image, library.Image(decode=False))
        for cell in cells.select_columns([image])[:][image]:
            images.append(cell["bytes"] or Path(cell["path"]))
        values += part.select_columns([label])[:][label]
        splits += [_SPLITS.get(name, name)] * len(part)
    labels, class_names = _labels(values, tuple(class_label or ()), f"{path}: column '{label}'")
    names = tuple(f"row {i}" for i in range(len(images)))
    declared = {"train", "valid", "test"} & set(splits)
    return Source(images, names, labels, class_names, tuple(splits) if len(declared) > 1 else None)
