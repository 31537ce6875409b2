"""Sizes of files as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def size_of(files: Iterable[Path]) -> int:
    """The bytes of files together."""
    return sum(path.stat().st_size for path in files)


def shown(size: float) -> str:
    """Bytes as text.

    >>> shown(12_600_000_000), shown(41_000), shown(0)
    ('12.6 GB', '41.0 kB', '0 B')
    """
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= least:
            return f"{size / least:.1f} {unit}"
    return f"{size:.0f} B"
