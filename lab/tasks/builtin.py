"""The tasks that come with the package, and what can be said of them without importing them (and torch)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Range: TypeAlias = tuple[float, float]
SHARE: Range = (0, 1)
_PIXELS: Range = (0, math.inf)


@dataclass(frozen=True)
class Builtin:
    """A task that comes with the package, and what can be said of it without importing it."""

    module: str
    name: str
    summary: str
    options: Mapping[str, str]
    train_examples: int | None = None
    """None: the user's data say; then `describe` does."""
    describe: str = ""
    """`module:function` from the options to a `Description`, without importing torch."""
    paths: tuple[str, ...] = ()
    """Options that name files or folders."""
    required: tuple[str, ...] = ()
    reads: Mapping[str, Range] = field(default_factory=lambda: {"dropout": SHARE})
    """Hyperparameters it knows, and from where on below where their values must lie."""


HUB = "hub:"
"""What begins a data set's name on the Hugging Face Hub where a path could stand."""

_SPLIT = "how rows are split: a kind (stratified, random, grouped, time, declared), or kind, by, valid, test, seed"
BUILTIN: dict[str, Builtin] = {
    "digits": Builtin(
        "lab.tasks.digits",
        "Digits",
        "scikit-learn's 8x8 digits, ten classes",
        {"model": "mlp or cnn", "split_seed": "seed of the split"},
        train_examples=1077,
    ),
    "table": Builtin(
        "lab.tasks.table.task",
        "Table",
        "a CSV or parquet of your own: numbers, categories, dates; classes, labels or values to predict",
        {
            "path": "the table: .csv, .tsv or .parquet",
            "target": "the column to predict, or a list of columns",
            "test_path": "a table of test rows; without it they are taken from the first",
            "split": _SPLIT,
            "ignore": "columns not to learn from",
            "types": "column to number, category or date, where the guess is wrong",
            "target_type": "number or category, where the guess is wrong",
            "missing": "words of a .csv that stand for no value, beside the empty cell, instead of "
            "? NA N/A n/a NaN nan null NULL None #N/A; numbers such as '-999' do so in a .parquet too",
            "separator": "of a .csv's columns, where it is not what the suffix says: one character, or tab",
            "decimal": "'.' or ','; without it a comma where the separator is ';'",
            "encoding": "of a .csv, such as cp1252",
            "bins": "of the piecewise-linear encoding beside each number; 0 turns it off",
            "layers": "widths of the hidden layers",
            "allow_leaks": "true to learn from columns that give the target away",
        },
        describe="lab.tasks.table.telling:describe",
        paths=("path", "test_path"),
        required=("path", "target"),
        reads={"dropout": SHARE, "embedding_dropout": SHARE},
    ),
    "images": Builtin(
        "lab.tasks.images.task",
        "Images",
        "images of your own: a folder per class, a parquet, an npz, or a data set of the Hub",
        {
            "path": "the images: a folder of class folders, .parquet, .npz, a saved data set, or hub:NAME",
            "test_path": "test images in the same form; without it they are taken from the first",
            "model": "small_cnn, resnet, timm:NAME or torchvision:NAME; another net: a subclass of lab.Images",
            "size": "side in pixels to which images are brought; needed where they differ",
            "limit": "at most so many images of `path`, drawn by the split's seed, each class in its share",
            "split": _SPLIT,
            "flip": "whether images are mirrored at random",
            "shift": "pixels by which images are shifted at random",
            "cutout": "side in pixels of a square blanked at random",
            "mixup": "alpha of mixup's Beta distribution; 0 is off",
            "label_smoothing": "share of each training target spread over all classes",
            "max_unreadable": "share of images that may be unreadable",
            "class_names": "what the classes are called, in their order, where the source has no names",
        },
        describe="lab.tasks.images.image_data:describe",
        paths=("path", "test_path"),
        required=("path",),
        reads={
            "dropout": SHARE,
            "flip": (0, 2),  # false and true
            "shift": _PIXELS,
            "cutout": _PIXELS,
            "mixup": (0, 100),
            "label_smoothing": SHARE,
        },
    ),
}


def rooted(kind: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Options of a built-in task with its paths made absolute, from `folder`."""
    return absolute(options, BUILTIN[kind].paths if kind in BUILTIN else (), folder)


def absolute(options: Mapping[str, Any], paths: Collection[str], folder: Path) -> dict[str, Any]:
    """Those options that are paths, made absolute, from `folder`."""
    return {
        name: str(folder / value)
        for name, value in options.items()
        if name in paths and isinstance(value, str) and value and not value.startswith(HUB)
    }
