"""A task's options: each is declared once, with its type, default, meaning and allowed values. Needs no torch.

Whoever lists options, checks a spec, makes paths absolute or constructs a task reads the declaration.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeAlias, TypeVar, dataclass_transform

from lab.errors import SpecError, nearest
from lab.tasks.undecided import AUTO, Undecided

Range: TypeAlias = tuple[float, float]
"""From where on and below where a hyperparameter's values lie."""

HUB = "hub:"
"""What begins a data set's name on the Hugging Face Hub where a path could stand."""


@dataclass(frozen=True)
class Allowed:
    """The values that an option may have."""

    refusal: str
    """What is said of any other value, after the value itself."""
    holds: Callable[[Any], bool]
    range: Range = (-math.inf, math.inf)
    """As of a hyperparameter of the same name."""
    choices: tuple[str, ...] = ()
    """All of them, where they are a few words."""


def _is_number(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def whole(low: int, high: int | None = None, *, unit: str = "") -> Allowed:
    """Whole numbers from `low` to `high`, both included."""
    what = f"a whole number of {unit}" if unit else "a whole number"
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    most = math.inf if high is None else high
    return Allowed(
        f"is not {what} {limits}", lambda value: _is_number(value, int) and low <= value <= most, (low, most + 1)
    )


def number(low: float, high: float) -> Allowed:
    """Numbers from `low` to `high`, both included."""
    return Allowed(
        f"is not a number from {low:g} to {high:g}",
        lambda value: _is_number(value, (int, float)) and low <= value <= high,
        (low, math.nextafter(high, math.inf)),
    )


def one_of(*choices: str) -> Allowed:
    """These words."""
    return Allowed(f"is unknown; choices: {', '.join(choices)}", lambda value: value in choices, choices=choices)


ANYTHING = Allowed("", lambda value: True)
SHARE = Allowed(
    "is not a share between 0 and 1", lambda value: _is_number(value, (int, float)) and 0 <= value < 1, (0, 1)
)
FLAG = Allowed("is not true or false", lambda value: isinstance(value, bool), (0, 2))
FLAG_OR_AUTO = Allowed(f"{FLAG.refusal}, or {AUTO}", lambda value: FLAG.holds(value) or value == AUTO, FLAG.range)
PATH = Allowed("is not a path", lambda value: isinstance(value, str) and value != "")
KEPT_PATH = Allowed("is not a path of a study's folder", PATH.holds)
"""All that is needed of what it names is kept in the study's folder: it may be gone when a study goes on."""
METRIC = Allowed("is not a metric's name", PATH.holds)
"""A function of one's own is FILE.py:NAME, and that file is looked for as a path is."""


@dataclass(frozen=True)
class Option:
    """What is declared of one option beside its type and default."""

    meaning: str
    """In a line, for whoever writes a spec."""
    allowed: Allowed = ANYTHING
    searched: bool = False
    """Whether a hyperparameter of the same name wins over it."""
    undecided: Undecided | None = None
    """What a study tries where it is `auto`."""


def option(
    meaning: str,
    allowed: Allowed = ANYTHING,
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    searched: bool = False,
    undecided: Undecided | None = None,
) -> Any:
    """A field that is an option; it is required where it has no default."""
    metadata = {"option": Option(meaning, allowed, searched, undecided)}
    return field(default=default, default_factory=default_factory, metadata=metadata)


def _shown(value: object) -> str:
    """A value as it is written, or, where that takes lines, what it is."""
    written = repr(value)
    return f"a {type(value).__name__}" if "\n" in written else written


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
class Options:
    """What a spec may say of a task: a subclass per task, a field made by `option` each.

    Every subclass is a frozen dataclass. None stands for an option's default. Values that depend on each other are
    refused in `check`.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    hyperparameters: ClassVar[Mapping[str, Range]] = MappingProxyType({"dropout": SHARE.range})
    """Those that the task reads from a trial, beside the options that are `searched`."""

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        dataclass(frozen=True, kw_only=kw_only)(cls)
        meanings = "\n".join(f"    {name}: {entry.meaning}" for name, entry in cls.declared().items())
        cls.__doc__ = f"{inspect.getdoc(cls)}\n\nArgs:\n{meanings}"

    def __post_init__(self) -> None:
        for name, entry in self.declared().items():
            value = getattr(self, name)
            if isinstance(value, Path):  # as Python's users have them
                value = str(value)
                object.__setattr__(self, name, value)
            if value is None and not self.requires(name):
                object.__setattr__(self, name, self.default(name))
            elif not entry.allowed.holds(value):
                raise SpecError(f"task.{name}", f"{_shown(value)} {entry.allowed.refusal}")
        self.check()

    def check(self) -> None:
        """Refuse impossible values (`SpecError`) that a field's `allowed` cannot."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """The options that a spec gives.

        Raises:
            SpecError: an unknown key, a missing or an impossible value; it names the key under `task`.
        """
        options = cls.declared()
        for key in values:
            if key not in options:
                raise SpecError(f"task.{key}", f"is unknown{nearest(key, options)}; allowed: {', '.join(options)}")
        for name, entry in options.items():
            if values.get(name) is None and cls.requires(name):
                raise SpecError(f"task.{name}", f"is missing: {entry.meaning}")
        return cls(**values)

    @classmethod
    def declared(cls) -> Mapping[str, Option]:
        """Every option by its name, in the order of the constructor."""
        entries = sorted(fields(cls), key=lambda entry: entry.kw_only is True)
        return {entry.name: entry.metadata["option"] for entry in entries}

    @classmethod
    def requires(cls, name: str) -> bool:
        """Whether an option has no default."""
        entry = cls.__dataclass_fields__[name]
        return entry.default is MISSING and entry.default_factory is MISSING

    @classmethod
    def default(cls, name: str) -> Any:
        """The default of an option that is not required."""
        entry = cls.__dataclass_fields__[name]
        return entry.default if entry.default_factory is MISSING else entry.default_factory()

    @classmethod
    def paths(cls) -> tuple[str, ...]:
        """The options that name files or folders, or may."""
        return tuple(name for name, entry in cls.declared().items() if entry.allowed in (PATH, KEPT_PATH, METRIC))

    @classmethod
    def kept_paths(cls) -> tuple[str, ...]:
        """Those of them of which a study's folder keeps what is needed."""
        return tuple(name for name, entry in cls.declared().items() if entry.allowed == KEPT_PATH)

    @classmethod
    def reads(cls) -> dict[str, Range]:
        """The hyperparameters that the task knows, and where their values lie."""
        searched = {name: entry.allowed.range for name, entry in cls.declared().items() if entry.searched}
        return {**cls.hyperparameters, **searched}

    def settled(self) -> dict[str, str]:
        """The options, and hyperparameters, that the others leave nothing to say of, with the reason."""
        return {}

    def unused(self) -> tuple[str, ...]:
        """A line on each option that is not as by default and is settled by others."""
        settled = self.settled()
        return tuple(
            f"task.{name} {settled[name]}; {getattr(self, name)!r} is not used"
            for name in self.declared()
            if name in settled and getattr(self, name) != self.default(name)
        )

    def beside(self, kind: str) -> dict[str, str]:
        """The options, and hyperparameters of the same name, that a target of this kind leaves nothing to say of, with
        the reason; kinds as in `Description`."""
        return {}

    def check_beside(self, kind: str) -> None:
        """Refuse what is said and has nothing to say of a target of this kind.

        Raises:
            SpecError: with the reason.
        """
        for name, reason in self.beside(kind).items():
            value = getattr(self, name)
            if value != self.default(name):
                raise SpecError(f"task.{name}", f"{value!r} {reason}")

    def refused(self, name: str, value: Any) -> str:
        """Why a hyperparameter cannot have a value that lies in its range; empty where it can."""
        return ""

    def undecided(self) -> dict[str, Undecided]:
        """The options that are `auto` and have to be tried, with what is tried."""
        entries = self.declared().items()
        return {name: e.undecided for name, e in entries if e.undecided is not None and getattr(self, name) == AUTO}

    def plain(self) -> dict[str, Any]:
        """The options as a spec writes them."""
        return {name: _plain(getattr(self, name)) for name in self.declared()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, (list, tuple)) else value


def absolute(options: Mapping[str, Any], paths: Collection[str], folder: Path) -> dict[str, Any]:
    """Those options that are paths, made absolute, from `folder`."""
    return {name: str(folder / value) for name, value in options.items() if name in paths and is_path(name, value)}


def is_path(name: str, value: object) -> bool:
    """Whether the value of an option that may be a path is one."""
    if not isinstance(value, str):
        return False
    if name == "metric":  # in a file of one's own, or a word
        return value.rpartition(":")[0].endswith(".py")
    return value != "" and not value.startswith(HUB)


_P = ParamSpec("_P")
_Options = TypeVar("_Options", bound=Options)
_Self = TypeVar("_Self")


def constructed_by(
    options: Callable[_P, _Options],
) -> Callable[[Callable[[_Self, _Options], None]], Callable[Concatenate[_Self, _P], None]]:
    """Decorator for a task's constructor: callers see the parameters of an options class, its body gets the options."""
    parameters = inspect.signature(options)

    def decorate(body: Callable[[_Self, _Options], None]) -> Callable[Concatenate[_Self, _P], None]:
        @functools.wraps(body)
        def constructor(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
            body(self, options(*args, **kwargs))

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        every = [own, *parameters.parameters.values()]
        constructor.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        constructor.__doc__ = options.__doc__
        return constructor

    return decorate
