"""The names of the files that hold snapshots."""

from __future__ import annotations

import re

_NAME = re.compile(r"([0-9]{4,})-([0-9]+)\.safetensors")


def snapshot_file(trial: int, index: int) -> str:
    """The name of a trial's snapshot.

    Args:
        index: the trial's snapshots before it.

    >>> snapshot_file(7, 0)
    '0007-0.safetensors'
    """
    return f"{trial:04d}-{index}.safetensors"


def snapshot_of(name: str) -> tuple[int, int] | None:
    """Trial and index of the snapshot in a file of this name; None where it is that of something else."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None
