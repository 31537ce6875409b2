"""Rows of a file that have no target, and so are not learned from: how many, and what stands there instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lab.tasks.description import some
from lab.tasks.table.dialect import Dialect
from lab.tasks.table.frame import words_for_missing
from lab.tasks.table.held import Held
from lab.tasks.table.target import with_target


class Lacking:
    """The rows of files that lack a target: they are left out, and counted."""

    def __init__(self, targets: tuple[str, ...], dialect: Dialect) -> None:
        self._targets, self._dialect = targets, dialect
        self._counts: dict[str, tuple[int, int]] = {}
        """By file, how many such rows, and how many rows in all."""

    def left_out(self, frame: Held, path: str) -> Held:
        """The rows of a file that hold every target."""
        kept = with_target(frame, self._targets)
        if len(kept) < len(frame):
            self._counts[path] = len(frame) - len(kept), len(frame)
        return kept

    def lines(self) -> Iterator[str]:
        """A line on each file that has such rows."""
        for path, (lacking, rows) in self._counts.items():
            words = words_for_missing(Path(path), self._targets, self._dialect)
            written = "; ".join(counted(counts) for counts in words.values())
            yield (
                f"{lacking} of {rows} rows of {Path(path).name} have no {some(self._targets, 6)} and are left out"
                + (
                    f" ({written}; if that is a class of its own, list what is missing in task.missing)"
                    if words
                    else ""
                )
            )


def counted(words: Mapping[str, int]) -> str:
    """Words with how often each stands there."""
    return ", ".join(f"{word!r} {count} times" for word, count in words.items())
