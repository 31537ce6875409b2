"""The hyperparameters searched: what may be proposed for each, and on which scale."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lab.errors import SpecError, nearest

Value: TypeAlias = float | int | str | bool
Params: TypeAlias = dict[str, Value]
When: TypeAlias = Mapping[str, tuple[Value, ...]]
"""Other parameters and the values of theirs under which this one exists: all must hold."""


_LARGEST_INT = 2**53
_MOST_OPTIONS = 1000


def _number(path: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise SpecError(path, f"{value!r} is not a finite number")


def _interval(name: str, low: float, high: float, log: bool) -> None:
    for end, value in (("low", low), ("high", high)):
        _number(f"{name}.{end}", value)
    if low > high:
        raise SpecError(name, f"low {low!r} is above high {high!r}; low <= high is needed")
    if log and low <= 0:
        raise SpecError(f"{name}.low", f"{low!r} is not above 0, which a log scale needs")


@dataclass(frozen=True)
class Float:
    """A real number in [low, high], searched on a linear or a log scale.

    Args:
        when: see `When`.

    >>> lab.Float(1e-4, 1.0, log=True)
    Float(low=0.0001, high=1.0, log=True, when={})
    """

    low: float
    high: float
    log: bool = False
    when: When = field(default_factory=dict)

    def check(self, name: str) -> None:
        _interval(name, self.low, self.high, self.log)


@dataclass(frozen=True)
class Int:
    """A whole number in [low, high], both ends included.

    >>> lab.Space(layers=lab.Int(1, 4))["layers"].high
    4
    """

    low: int
    high: int
    log: bool = False
    when: When = field(default_factory=dict)

    def check(self, name: str) -> None:
        _interval(name, self.low, self.high, self.log)
        for end, value in (("low", self.low), ("high", self.high)):
            if not isinstance(value, int):
                raise SpecError(f"{name}.{end}", f"{value!r} is not a whole number")
            if abs(value) > _LARGEST_INT:
                raise SpecError(f"{name}.{end}", f"{value!r} is beyond {_LARGEST_INT}, above which floats have gaps")


@dataclass(frozen=True)
class Choice:
    """One of a few values without an order.

    >>> lab.Choice([1, 2, 3]).options
    (1, 2, 3)
    """

    options: tuple[Value, ...]
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))

    def check(self, name: str) -> None:
        if not self.options:
            raise SpecError(f"{name}.choice", "is empty; at least one value is needed")
        if len(self.options) > _MOST_OPTIONS:
            raise SpecError(f"{name}.choice", f"has {len(self.options)} values; at most {_MOST_OPTIONS} are searched")
        for option in self.options:
            if not isinstance(option, (bool, int, float, str)) or option != option:  # NaN
                raise SpecError(f"{name}.choice", f"{option!r} is not a number, a string or a boolean")
        if len(set(self.options)) < len(self.options):
            raise SpecError(f"{name}.choice", f"{list(self.options)!r} names a value twice")


@dataclass(frozen=True)
class FromBounds:
    """To be replaced by the interval that the learning-rate range test finds.

    >>> lab.Space(max_lr=lab.FromBounds()).needs_bounds
    True
    """

    when: When = field(default_factory=dict)

    def check(self, name: str) -> None:
        if name.rpartition(".")[2] != "max_lr":
            raise SpecError(name, "'from: bounds' is possible for max_lr only")


Dimension: TypeAlias = Float | Int | Choice | FromBounds


def ends(dimension: Dimension) -> tuple[Value, ...]:
    """The values between which, or the options of which, a dimension is drawn; none before bounds are known."""
    match dimension:
        case Float(low, high) | Int(low, high):
            return (low, high)
        case Choice(options):
            return options
        case FromBounds():
            return ()


_MOST_BETWEEN = 10_000


def between(dimension: Dimension) -> Iterable[Value]:
    """The ends or options of a dimension, and the whole numbers between its ends, where they are no more than some.

    What counts something takes these of a range of numbers too.
    """
    if isinstance(dimension, Int | Float) and dimension.high - dimension.low < _MOST_BETWEEN:
        whole = range(math.ceil(dimension.low), math.floor(dimension.high) + 1)
        return whole if isinstance(dimension, Int) else (*ends(dimension), *whole)
    return ends(dimension)


class Space(Mapping[str, Dimension]):
    """Named dimensions, in the order in which they are drawn; immutable.

    Raises:
        SpecError: a dimension that cannot be drawn from, or one that depends on another below it.

    >>> space = lab.Space(
    ...     net=lab.Choice(["plain", "wide"]),
    ...     dropout=lab.Float(0.0, 0.5),
    ...     width=lab.Int(16, 128, when={"net": ("wide",)}),
    ... )
    >>> list(space)
    ['net', 'dropout', 'width']
    """

    def __init__(self, dimensions: Mapping[str, Dimension] | None = None, /, **named: Dimension) -> None:
        self._dimensions: dict[str, Dimension] = {**(dimensions or {}), **named}
        if not self._dimensions:
            raise SpecError("space", "is empty; at least one hyperparameter is needed")
        seen: list[str] = []
        for name, dimension in self._dimensions.items():
            if not isinstance(dimension, (Float, Int, Choice, FromBounds)):
                raise SpecError(f"space.{name}", f"{dimension!r} is not a Float, Int, Choice or FromBounds")
            dimension.check(f"space.{name}")
            for parent in dimension.when:
                if parent not in seen:
                    raise SpecError(f"space.{name}.when", f"'{parent}' must be a parameter declared above it")
            seen.append(name)

    def __getitem__(self, name: str) -> Dimension:
        return self._dimensions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)

    def __repr__(self) -> str:
        return f"Space({self._dimensions!r})"

    def __reduce__(self) -> tuple[type[Space], tuple[dict[str, Dimension]]]:
        return (Space, (self._dimensions,))

    @property
    def needs_bounds(self) -> bool:
        """Whether a range test must run before anything can be proposed."""
        return any(isinstance(d, FromBounds) for d in self.values())

    def with_bounds(self, low: float, high: float) -> Space:
        """The same space with every `from: bounds` replaced by [low, high] on a log scale."""
        return Space(
            {
                name: Float(low, high, log=True, when=d.when) if isinstance(d, FromBounds) else d
                for name, d in self.items()
            }
        )

    def check_conditions(self) -> None:
        """Refuse a condition that no value of its parent fulfils (`SpecError`)."""
        for name, dimension in self.items():
            for parent, values in dimension.when.items():
                _check_when(f"space.{name}.when.{parent}", self[parent], values)

    def active(self, name: str, params: Mapping[str, Value]) -> bool:
        """Whether dimension `name` exists, given the values drawn before it."""
        return all(params.get(parent) in values for parent, values in self[name].when.items())


def _check_when(path: str, parent: Dimension, values: tuple[Value, ...]) -> None:
    if not values:
        raise SpecError(path, "is empty; at least one value is needed")
    for value in values:
        match parent:
            case Choice(options):
                if value not in options:
                    hint = nearest(str(value), map(str, options))
                    raise SpecError(path, f"{value!r} is not one of {list(options)!r}{hint}")
            case Int(low, high):
                if not isinstance(value, int) or not low <= value <= high:
                    raise SpecError(path, f"{value!r} is not a whole number from {low!r} to {high!r}")
            case _:
                raise SpecError(path, "a condition needs a parent of single values: {choice: [...]} or whole numbers")


def parse_dimension(path: str, value: object) -> Dimension:
    """A dimension as a spec writes it.

    `{low, high, log?, int?}`, `{choice: [...]}`, `{from: bounds}`, each with an optional `when`.

    Raises:
        SpecError: naming `path`, the value and what is allowed.
    """
    if isinstance(value, (Float, Int, Choice, FromBounds)):
        return value
    if not isinstance(value, Mapping):
        raise SpecError(path, f"{value!r} is not one of {{low, high}}, {{choice: [...]}}, {{from: bounds}}")
    entries = dict(value)
    when = _parse_when(path, entries.pop("when", {}))
    match sorted(entries, key=str):
        case ["choice"]:
            options = entries["choice"]
            if not isinstance(options, (list, tuple)):
                raise SpecError(f"{path}.choice", f"{options!r} is not a list")
            return Choice(tuple(options), when)
        case ["from"]:
            if entries["from"] != "bounds":
                raise SpecError(f"{path}.from", f"{entries['from']!r} is not 'bounds'")
            return FromBounds(when)
        case keys if {"low", "high"} <= set(keys) <= {"low", "high", "log", "int"}:
            for flag in ("log", "int"):
                if not isinstance(entries.get(flag, False), bool):
                    raise SpecError(f"{path}.{flag}", f"{entries[flag]!r} is not true or false")
            kind = Int if entries.pop("int", False) else Float
            for end in ("low", "high"):
                _number(f"{path}.{end}", entries[end])
            dimension = kind(entries["low"], entries["high"], entries.get("log", False), when)
            dimension.check(path)
            return dimension
        case keys:
            raise SpecError(
                path,
                f"keys {keys} are not one of {{low, high[, log, int]}}, {{choice}}, {{from: bounds}}",
            )


def _parse_when(path: str, value: object) -> When:
    if not isinstance(value, Mapping):
        raise SpecError(f"{path}.when", f"{value!r} is not a mapping of parameter to values")
    return {str(k): tuple(v) if isinstance(v, (list, tuple)) else (v,) for k, v in value.items()}


def dump_dimension(dimension: Dimension) -> dict[str, Any]:
    """The inverse of `parse_dimension`."""
    match dimension:
        case Float(low, high, log):
            out: dict[str, Any] = {"low": low, "high": high, "log": log}
        case Int(low, high, log):
            out = {"low": low, "high": high, "log": log, "int": True}
        case Choice(options):
            out = {"choice": list(options)}
        case FromBounds():
            out = {"from": "bounds"}
    if dimension.when:
        out["when"] = {parent: list(values) for parent, values in dimension.when.items()}
    return out
