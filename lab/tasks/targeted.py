"""What a spec says of the columns of a table that are to be predicted. Needs neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.errors import SpecError
from lab.tasks.options import Allowed, Options, number, one_of, option
from lab.tasks.scored import Scored


def is_name(value: object) -> bool:
    """Whether it may be what a column is called."""
    return isinstance(value, str) and value != ""


def are_names(value: object) -> bool:
    """Whether they may be what columns are called."""
    return isinstance(value, (list, tuple)) and all(map(is_name, value))


TARGET = Allowed(
    "is neither a column's name nor a list of them",
    lambda value: is_name(value) or (are_names(value) and len(value) > 0),
)

_WEIGHT = number(0.001, 1000)
_WEIGHTS = Allowed(
    f"is not a mapping of targets to numbers from {0.001:g} to {1000:g}",
    lambda value: (
        isinstance(value, Mapping)
        and are_names(list(value))
        and all(_WEIGHT.holds(weight) for weight in value.values())
    ),
)


def names_of(target: str | Sequence[str] | None) -> tuple[str, ...]:
    """One column, several or none, as names."""
    if target is None:
        return ()
    return (target,) if isinstance(target, str) else tuple(target)


_TYPES = ("number", "category")
_TARGET_TYPES = Allowed(
    f"is not a mapping of columns to {', '.join(_TYPES)}",
    lambda value: (
        isinstance(value, Mapping) and are_names(list(value)) and all(kind in _TYPES for kind in value.values())
    ),
)


class TargetTypes(Options, kw_only=True):
    """The type of each target."""

    target_type: str | None = option("number or category, where the guess is wrong", one_of(*_TYPES), default=None)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to predict."""
        raise NotImplementedError

    @property
    def said_types(self) -> Mapping[str, Any]:
        """What is said of columns, by their names."""
        raise NotImplementedError

    @property
    def several_types(self) -> Mapping[str, Any]:
        """What is said of the columns of several targets; that of one is said by `target_type`."""
        return self.said_types if len(self.targets) > 1 else {}

    def check(self) -> None:
        super().check()
        if len(set(self.targets)) < len(self.targets):
            raise SpecError("task.target", f"{list(self.targets)!r} names a column twice")


class TypesOfTargets(TargetTypes, kw_only=True):
    """The same where no other columns have a type."""

    types: Mapping[str, str] = option(
        "of several targets, column to number or category, where the guess is wrong",
        _TARGET_TYPES,
        default_factory=dict,
    )

    @property
    def said_types(self) -> Mapping[str, str]:
        return self.types

    def check(self) -> None:
        super().check()
        for name in self.types:
            if name not in self.targets:
                raise SpecError("task.types", f"{name!r} is no target; those are {', '.join(self.targets) or 'none'}")


class Targeted(TargetTypes, Scored, kw_only=True):
    """What a spec says of the targets: of what type they are, and which counts how much where they are of several."""

    primary: str | None = option(
        "of several targets of different kinds, whose metric trials are compared by; default: the first", default=None
    )
    target_weights: Mapping[str, float] = option(
        "how much the loss of each of such targets counts beside the others', 1 if not said",
        _WEIGHTS,
        default_factory=dict,
    )
    primary_weight: float = option(
        "times that weight, for the primary of such targets", _WEIGHT, default=1.0, searched=True
    )

    def beside(self, kind: str) -> dict[str, str]:
        if kind == "several":
            return super().beside(kind)
        return {**super().beside(kind), "primary_weight": "is for several targets, some of classes and some of values"}

    def check(self) -> None:
        super().check()
        allowed = f"is no target; those are {', '.join(self.targets)}"
        if self.primary is not None and self.primary not in self.targets:
            raise SpecError("task.primary", f"{self.primary!r} {allowed}")
        for name in self.target_weights:
            if name not in self.targets:
                raise SpecError("task.target_weights", f"{name!r} {allowed}")
