"""What only stands beside the models that a study trains: where it cannot be made, it costs itself and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lab.tasks.user_code import said_by

_T = TypeVar("_T")
_Else = TypeVar("_Else")


class Beside:
    """Makes what stands beside, and keeps a line on each thing that could not be made."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is missing, and why, a line each."""
        return tuple(dict.fromkeys(self._lines))

    def made(self, what: str, make: Callable[[], _T], otherwise: _Else) -> _T | _Else:
        """What `make` gives; what stands in its place, where it raises anything."""
        try:
            return make()
        except Exception as error:  # a user's code, or another library's on data that it was not made for
            self._lines.append(f"{what}: left out ({said_by(error)})")
            return otherwise
