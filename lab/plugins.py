"""Tasks, samplers and schedules of other packages: entry points, by the group and the name they are registered under.

Listing names imports nothing of a package; loading one does.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias

from lab.errors import SpecError

Group: TypeAlias = Literal["lab.tasks", "lab.samplers", "lab.schedules"]


def registered(group: Group) -> dict[str, str]:
    """Every name that installed packages register, and the packages that do, in the order of the alphabet."""
    packages: dict[str, set[str]] = {}
    for entry in entry_points(group=group):
        packages.setdefault(entry.name, set()).add(_package(entry))
    return {name: ", ".join(sorted(packages[name])) for name in sorted(packages)}


def load(group: Group, name: str, path: str) -> Any:
    """What a package registers under a name; None where no package does.

    Raises:
        SpecError: several packages register it, or what it stands for cannot be imported; names `path` and package.
    """
    try:
        return _loaded(group, name, path)
    except LookupError:
        return None


@functools.cache  # what is loaded stays loaded, as its module does; neither a refusal nor a missing name is kept
def _loaded(group: Group, name: str, path: str) -> Any:
    entries = entry_points(group=group, name=name)
    if not entries:
        raise LookupError(name)
    packages = ", ".join(sorted({_package(entry) for entry in entries}))
    (entry, *others) = entries
    if others:
        raise SpecError(path, f"{name!r} is registered by several packages: {packages}; uninstall all but one")
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # a package's own code may raise anything
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise SpecError(path, f"{name!r} of package {packages} cannot be loaded from {entry.value} ({said})") from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "unknown"
