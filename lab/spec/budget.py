"""What a whole study may cost: the section `budget` of a spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lab.errors import SpecError
from lab.spec.section import Section

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|epochs)?")


class Budget(Section):
    """A limit in time or in epochs, and how it was divided."""

    limit: str
    """`45s`, `30m`, `2h` on one lane of this machine, or `800 epochs`."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """What the limit pays for beside the range test; written by `lab`, as all below."""
    asked: dict[str, Any] | None = None
    """The sections that were changed, as the spec had them."""
    decisions: list[str] = Field(default_factory=list)
    """What each part of the study gets, and why, for people."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        matched = _LIMIT.fullmatch(self.limit.strip())
        if matched is None or not float(matched[1]) > 0:
            raise SpecError("budget", f"{self.limit!r} is neither a time (45s, 30m, 2h) nor a number of epochs")
        return self

    @property
    def seconds(self) -> float | None:
        """The limit where it is one of time."""
        number, unit = self._parts
        return float(number) * _SECONDS[unit] if unit in _SECONDS else None

    @property
    def limit_epochs(self) -> float | None:
        """The limit where it is one of epochs."""
        number, unit = self._parts
        return None if unit in _SECONDS else float(number)

    @property
    def _parts(self) -> tuple[str, str]:
        matched = _LIMIT.fullmatch(self.limit.strip())
        assert matched is not None  # as validated
        return matched[1], matched[2] or "epochs"


def parse_budget(value: object) -> object:
    """A budget as a spec writes it: the limit alone, or what `lab` made of it."""
    if isinstance(value, (Mapping, Budget)) or value is None:
        return value
    return {"limit": str(value)}
