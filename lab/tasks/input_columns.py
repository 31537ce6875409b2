"""The columns of a user's table, as they lie in a task's inputs. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InputColumn:
    """A column of the user's, and what of inputs [n, f] was made of it."""

    name: str
    inputs: tuple[int, ...]
    """All positions in f: they are the column's value together, and are nothing apart."""
    by: tuple[int, ...]
    """Those of them that put its values in order, the weightiest first: year, then month, then day."""
    levels: bool = False
    """Whether it is a category, whose codes have no order."""
