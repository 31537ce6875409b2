"""A study's stages while they run, for a terminal: a bar for each, what is under way, and how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

_NAME, _BAR = 9, 24
"""Columns of a stage's name, and of its bar."""


@dataclass(frozen=True)
class StageView:
    """One line of it."""

    name: str
    share: float
    """How much of it is done, 0 to 1."""
    running: bool = False
    said: str = ""


def stages_view(stages: Sequence[StageView], foot: str = "") -> RenderableType:
    """The stages below each other; one that runs without a share to show has a bar that moves.

    Args:
        foot: a line below them.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=_NAME, min_width=_NAME)
    table.add_column(width=_BAR, min_width=_BAR)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")  # what is said gives way, and no bar
    for stage in stages:
        style = "bold" if stage.running else ("" if stage.share == 1 else "dim")
        bar = ProgressBar(total=1, completed=stage.share, width=_BAR, pulse=stage.running and not stage.share)
        table.add_row(Text(stage.name, style), bar, Text(stage.said, style))
    return Group(table, Text(foot)) if foot else table
