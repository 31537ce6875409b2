"""What was learned from a table's training rows, as JSON can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.errors import TaskError
from lab.tasks.table.columns import Column, dump_column, load_column
from lab.tasks.table.encoding import Form
from lab.tasks.table.target import Target


@dataclass(frozen=True)
class Fitted:
    """What was learned from the training rows."""

    columns: tuple[Column, ...]
    target: Target
    thresholds: bool = True
    """Whether labels are scored at a threshold that suits them; earlier versions scored them at a half."""
    compact: bool = False
    """Whether inputs are compact, see `Form`; those of earlier versions are not."""

    @property
    def form(self) -> Form:
        """How rows lie in the inputs."""
        return Form(self.columns, self.compact)

    def dump(self) -> dict[str, Any]:
        columns = [dump_column(c) for c in self.columns]
        plain = {"columns": columns, "target": self.target.dump(), "thresholds": self.thresholds}
        return {**plain, "compact": True} if self.compact else plain

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Fitted:
        """What `dump` gave.

        Raises:
            TaskError: it is something else.
        """
        try:
            columns = tuple(load_column(c) for c in value["columns"])
            target = Target.load(value["target"])
            return cls(columns, target, value.get("thresholds", False), value.get("compact", False))
        except (KeyError, TypeError, AttributeError) as error:
            raise TaskError(f"what was fitted to the table is damaged ({type(error).__name__}: {error})") from error
