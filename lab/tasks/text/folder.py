"""Text files as tables: a folder per class, perhaps below train, valid and test; a folder of files; lines of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from lab.errors import TaskError
from lab.tasks.table.held import Held, held

FILE = "file"
"""The column of files' names."""
_SPLITS = ("train", "valid", "test")
SUFFIX = ".txt"


def read_folder(folder: Path, text: str, label: str) -> dict[str, Held]:
    """Each split's texts, their classes and their files; the split is `train` where the folder names none.

    Args:
        text, label: what the columns are called.

    Raises:
        TaskError: no texts in a folder per class, or a file that is not UTF-8.
    """
    below = _folders(folder)
    named = [split for split in _SPLITS if folder / split in below]
    if named and "train" not in named:
        raise TaskError(f"{folder}: has a folder {named[0]!r} and none that is called 'train'")
    parts = {split: _classes(folder / split) for split in named} if named else {"train": _classes(folder)}
    return {split: _table(rows, text, label) for split, rows in parts.items()}


def texts_in(folder: Path, text: str) -> Held:
    """The texts of a folder, without classes.

    Raises:
        TaskError: there are none, or a file is not UTF-8.
    """
    files = _files(folder)
    if not files:
        raise TaskError(f"{folder}: has no {SUFFIX} files")
    return _table([(_read(file), None, file.name) for file in files], text, "")


def has_texts(folder: Path) -> bool:
    """Whether files of texts lie in a folder itself."""
    return bool(_files(folder))


def lines_in(file: Path, text: str) -> Held:
    """The lines of a text file.

    Raises:
        TaskError: there are none, or they are not UTF-8.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file}: cannot be read as UTF-8 ({error})") from None
    if not lines:
        raise TaskError(f"{file}: has no lines")
    return held(iter([(text, pd.Series(lines, dtype=object))]))


def _classes(folder: Path) -> list[tuple[str, str, str]]:
    rows = list(_rows(folder))
    if not rows:
        raise TaskError(f"{folder}: has no {SUFFIX} files in a folder per class")
    return rows


def _rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    for of_class in _folders(folder):
        for file in _files(of_class):
            yield _read(file), of_class.name, str(file.relative_to(folder))


def _table(rows: Sequence[tuple[str, str | None, str]], text: str, label: str) -> Held:
    columns = zip(*rows, strict=True)
    return held(
        (name, pd.Series(values, dtype=object)) for name, values in zip((text, label, FILE), columns, strict=True)
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(below for below in folder.iterdir() if below.is_dir() and not below.name.startswith((".", "__")))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == SUFFIX and file.is_file())


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"{file}: is not UTF-8 at byte {error.start}; save it as UTF-8") from None
