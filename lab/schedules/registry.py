"""The kinds of schedule, and reading one as a spec writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from inspect import isabstract
from typing import Any

from lab import plugins
from lab.errors import SpecError, nearest
from lab.schedules.base import Schedule, preset_fields
from lab.schedules.compose import HANDED, Composed, Join, Scale, Warmup
from lab.schedules.cyclical import FGE, Cyclical
from lab.schedules.decay import WSD, Constant, FlatCosine, Polynomial, Step
from lab.schedules.fine_tune import FineTune
from lab.schedules.one_cycle import OneCycle, SlantedTriangular
from lab.schedules.ramp import Ramp
from lab.schedules.restarts import SGDR, Snapshot

_CLASSES: tuple[type[Schedule], ...] = (
    OneCycle,
    Snapshot,
    SGDR,
    Cyclical,
    FGE,
    FlatCosine,
    WSD,
    SlantedTriangular,
    FineTune,
    Polynomial,
    Step,
    Constant,
    Ramp,
    Join,
    Warmup,
    Scale,
)
KINDS: dict[str, type[Schedule]] = {cls.kind: cls for cls in _CLASSES}
"""Every kind that comes with the package, by the name a spec gives it."""


def schedule_class(kind: object, path: str = "schedule") -> type[Schedule]:
    """The schedule class of a kind, of this package or one that another registers in `lab.schedules`.

    Raises:
        SpecError: there is none, with the choices; or what is registered is no schedule of that kind.

    >>> schedule_class("one_cycle").__name__
    'OneCycle'
    """
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None and isinstance(kind, str):
        cls = _registered(kind, f"{path}.kind")
    if cls is None:
        choices = [*KINDS, *plugins.registered("lab.schedules")]
        hint = nearest(kind, choices) if isinstance(kind, str) else ""
        raise SpecError(f"{path}.kind", f"{kind!r} is unknown{hint}; choices: {', '.join(choices)}")
    return cls


def _registered(kind: str, path: str) -> type[Schedule] | None:
    cls = plugins.load("lab.schedules", kind, path)
    if cls is None:
        return None
    if not (isinstance(cls, type) and issubclass(cls, Schedule) and not isabstract(cls)):
        raise SpecError(path, f"{kind!r} of another package is {cls!r}, which is no subclass of Schedule")
    if cls.kind != kind:
        raise SpecError(path, f"{kind!r} of another package is {cls.__name__}, whose kind is {cls.kind!r}")
    return cls


def parse_schedule(value: Mapping[str, Any], path: str = "schedule") -> Schedule:
    """A schedule as a spec writes it: `{kind: one_cycle, max_lr: 0.1, ...}`, compositions with mappings inside.

    Raises:
        SpecError: an unknown kind, key or preset, a missing or impossible value; it names the place under `path`.

    >>> parse_schedule({"kind": "one_cycle", "max_lr": 0.1}).cycle_ends(100)
    (99,)
    """
    if not isinstance(value, Mapping):
        raise SpecError(path, f"{value!r} is not a mapping with a kind")
    entries = dict(value)
    cls = schedule_class(entries.pop("kind", None), path)
    if "preset" in entries:
        entries = {**preset_fields(cls, entries.pop("preset"), path), **entries}
    names = {f.name for f in fields(cls)}
    for key in entries:
        if key not in names:
            allowed = {*names, "preset"} if cls.presets else names
            raise SpecError(
                f"{path}.{key}", f"is unknown{nearest(str(key), allowed)}; allowed: {', '.join(sorted(allowed))}"
            )
    for field in fields(cls):
        if field.default is MISSING and field.name not in entries:
            raise SpecError(f"{path}.{field.name}", "is missing")
    if issubclass(cls, Composed):
        entries |= _inside(entries, path)
    try:
        return cls(**entries)
    except SpecError as error:
        raise SpecError(path + error.path.removeprefix("schedule"), error.message) from None


def _inside(entries: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The schedules inside a composition, with what it hands to them in the place of their own values."""
    handed = {name: entries[name] for name in HANDED if entries.get(name) is not None}

    def read(value: object, where: str) -> Schedule:
        if not isinstance(value, Mapping):
            raise SpecError(where, f"{value!r} is not a mapping with a kind")
        names = {field.name for field in fields(schedule_class(value.get("kind"), where))}
        return parse_schedule({**value, **{name: handed[name] for name in handed if name in names}}, where)

    if "schedule" in entries:
        return {"schedule": read(entries["schedule"], f"{path}.schedule")}
    parts = entries["parts"]
    if not isinstance(parts, list | tuple):
        raise SpecError(f"{path}.parts", f"{parts!r} is not a list")
    return {"parts": tuple(read(part, f"{path}.parts.{i}") for i, part in enumerate(parts))}
