"""What was given to a study in Python as an object lies in its folder as a file, so that it can be gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from lab.errors import RecordError
from lab.record.folder import write_bytes


def kept_at(folder: Path, option: str) -> Path:
    """Where a study keeps the table that an option of its task was given as."""
    name = {"path": "table", "test_path": "test_table"}.get(option, option)
    return folder.resolve() / f"{name}.parquet"


def keep_files(folder: Path, files: Mapping[str, Path]) -> None:
    """Copy files by option into a study's folder, but those that are there.

    Raises:
        RecordError: there are others.
    """
    for option, file in files.items():
        path, content = kept_at(folder, option), file.read_bytes()
        if not path.exists():
            write_bytes(path, content)
        elif _digest(path.read_bytes()) != _digest(content):
            raise RecordError(f"{path}: holds another table than the one given; choose another folder")


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
