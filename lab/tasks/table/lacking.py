"""Rows of a file that have no target, and so are not learned from: how many, and what stands there instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab.tasks.description import some
from lab.tasks.table.dialect import Dialect
from lab.tasks.table.frame import words_for_missing


def lacking_targets(
    without_target: Mapping[str, tuple[int, int]], targets: Sequence[str], dialect: Dialect
) -> Iterator[str]:
    """A line on each file.

    Args:
        without_target: the files with such rows: how many of these, and how many rows in all.
    """
    for path, (lacking, rows) in without_target.items():
        words = words_for_missing(Path(path), targets, dialect)
        written = "; ".join(counted(counts) for counts in words.values())
        yield (
            f"{lacking} of {rows} rows of {Path(path).name} have no {some(targets, 6)} and are left out"
            + (f" ({written}; if that is a class of its own, list what is missing in task.missing)" if words else "")
        )


def counted(words: Mapping[str, int]) -> str:
    """Words with how often each stands there."""
    return ", ".join(f"{word!r} {count} times" for word, count in words.items())
