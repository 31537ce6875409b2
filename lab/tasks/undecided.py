"""Options that nobody can decide before training: a study tries them with and without. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from lab.spec.space import Value

AUTO = "auto"
"""What such an option is where the spec says nothing."""


@dataclass(frozen=True)
class Undecided:
    """What is tried of an option that is `auto`."""

    values: tuple[Value, ...]
    """The first holds wherever no trial says another, as in a range test."""
    before: Value | None = None
    """What holds in a study that was begun when the option was not tried yet; None: the first value too."""

    @property
    def earlier(self) -> Value:
        return self.values[0] if self.before is None else self.before
