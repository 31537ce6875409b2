"""A training as it goes on: a row for each epoch, in a notebook as a table that grows, on a terminal and in a log as
lines of text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from typing import Any

from lab.errors import plain
from lab.report.number import number

_LEAST = 11
"""Characters of a column."""


class EpochsShown:
    """Shows epochs as they end, and keeps them for whoever asks for them later.

    Args:
        epochs: how many there will be.
        quiet: whether nothing is shown.
    """

    def __init__(self, epochs: int, quiet: bool) -> None:
        self._epochs, self._quiet = epochs, quiet
        self.rows: list[dict[str, Any]] = []
        self._handle = None if quiet else _notebook()

    def say(self, line: str) -> None:
        """Show one line that stays."""
        if not self._quiet:
            sys.stderr.write(plain(line) + "\n")
            sys.stderr.flush()

    def add(self, row: Mapping[str, Any]) -> None:
        """Show one epoch more."""
        self.rows.append(dict(row))
        if self._quiet:
            return
        if self._handle is not None:
            self._handle.update(_Html(epochs_html(self.rows, self._epochs)))
            return
        if len(self.rows) == 1:
            self.say("  ".join(f"{name:>{_width(name)}}" for name in row))
        self.say("  ".join(f"{_cell(name, value):>{_width(name)}}" for name, value in row.items()))


class _Html:
    """What IPython shows as HTML."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return "epochs"


def epochs_html(rows: list[dict[str, Any]], epochs: int | None = None) -> str:
    """Epochs as a table without a style of its own.

    Args:
        epochs: how many there will be, to be said where some are missing.
    """
    names = [*rows[0]] if rows else []
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(name, row.get(name)))}</td>" for name in names) + "</tr>" for row in rows
    )
    missing = f"<caption>{len(rows)} of {epochs} epochs</caption>" if epochs and len(rows) < epochs else ""
    return f"<table>{missing}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _width(name: str) -> int:
    return 5 if name == "epoch" else max(len(name), _LEAST)


def _cell(name: str, value: Any) -> str:
    return f"{value:.1f}" if name == "seconds" else number(value)


def _notebook() -> Any:
    """A place in a notebook's output that can be shown anew; None outside of one."""
    # A notebook has loaded IPython long before; nobody else shall load it for this.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or "IPKernelApp" not in getattr(shell, "config", {}):
        return None
    from IPython.display import display

    return display(_Html(""), display_id=True)  # type: ignore[no-untyped-call]
