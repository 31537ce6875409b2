"""Showing text on a terminal, whoever has written it."""

from __future__ import annotations

from typing import TextIO

from lab.errors import plain


def say(text: object = "", file: TextIO | None = None) -> None:
    """Print a line without what a terminal would take for commands; a study's folder may come from anybody."""
    print(plain(str(text)), file=file, flush=True)
