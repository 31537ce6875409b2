"""From the `task` of a spec to the task itself: built in, of a file, of a module, or registered by a package.

Knowing the built-in tasks by name needs no torch.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lab import plugins
from lab.errors import TRUST, LabError, RecordError, SpecError, TaskError, nearest
from lab.spec.plan import OWN_LOOP, TaskRef
from lab.tasks.builtin import BUILTIN
from lab.tasks.defined_names import check_file
from lab.tasks.description import Description
from lab.tasks.options import absolute
from lab.tasks.scored import file_of
from lab.tasks.undecided import Undecided
from lab.tasks.user_code import home_of, import_file, import_module, line_of, said_by

if TYPE_CHECKING:
    from lab.tasks.task import Task, TrialFunction

_Made = TypeVar("_Made")


def describe(ref: TaskRef) -> Description:
    """What is known of a task's data before it is built; nothing for a user's own class.

    Raises:
        LabError: its data cannot be trained on.
    """
    check_reference(ref)
    builtin = BUILTIN.get(ref.kind)
    if builtin is None:
        return Description()
    description: Description = _imported(builtin.describe)(ref.options)
    return description


def check_reference(ref: TaskRef) -> None:
    """Refuse a task that cannot exist, as far as that can be seen without importing it, and one that must not be."""
    if ref.foreign and runs_code(ref):
        raise RecordError(
            f"task.kind: {ref.kind!r} runs code that the study's folder names, and you have not begun it here; {TRUST}"
        )
    origin, name = _parts(ref.kind)
    if ref.kind in BUILTIN:
        BUILTIN[ref.kind].options.parse(ref.options)
    elif name and origin.endswith(".py"):
        if not _path(ref).is_file():
            raise SpecError("task.kind", f"the file {_path(ref)} does not exist")
    elif _is_module(origin) and name.isidentifier():
        if home_of(origin) is None:
            package = origin.partition(".")[0]
            raise SpecError("task.kind", f"{ref.kind!r} is unknown: no module {package!r} is installed here")
    elif name or ref.kind not in plugins.registered("lab.tasks"):
        names = [*BUILTIN, *plugins.registered("lab.tasks")]
        choices = ", ".join([*names, "FILE.py:NAME", "PACKAGE.MODULE:NAME"])
        raise SpecError("task.kind", f"{ref.kind!r} is unknown{nearest(ref.kind, names)}; choices: {choices}")


def check_written(ref: TaskRef) -> None:
    """Refuse a task in a user's file that does not parse or has no such name, without running it.

    Raises:
        SpecError: it has no such name.
        TaskError: it does not parse.
    """
    origin, name = _parts(ref.kind)
    if ref.kind not in BUILTIN and origin.endswith(".py") and name.isidentifier():
        check_file(_path(ref), name, "task.kind")


def load_task(ref: TaskRef) -> Task | TrialFunction:
    """The task that a spec names.

    Raises:
        SpecError: there is no such task, or an option it does not know.
        TaskError: the user's code does not import, or does not hold a task; with the user's line.
    """
    from lab.tasks.task import Task, TrialFunction

    for made in (ref.opened, ref.instance):
        if isinstance(made, Task):
            made.assumed = ref.assumed
        if isinstance(made, (Task, TrialFunction)):
            return made
    check_reference(ref)
    named, own = _named(ref)
    if isinstance(named, TrialFunction):
        if ref.options:
            raise SpecError("task", f"a trial function takes no options; got {sorted(ref.options)}")
        return named
    if ref.kind == OWN_LOOP:
        loop: TrialFunction = _construct(ref, named, own)
        return loop
    if not (inspect.isclass(named) and issubclass(named, Task)):
        raise TaskError(f"{ref.kind}: is neither a subclass of lab.Task nor made by @lab.trial_function")
    missing = sorted(getattr(named, "__abstractmethods__", ()))
    if missing:
        raise TaskError(f"{ref.kind}: lacks {', '.join(missing)}")
    task = _construct(ref, named, own)
    task.assumed, task.fetches = ref.assumed, not ref.foreign
    if ref.cache:
        task.cache = Path(ref.cache)
    return task


def runs_code(ref: TaskRef) -> bool:
    """Whether anything but code that is installed here is needed for a task: a file, a module, a net from a hub."""
    metric, model = str(ref.options.get("metric")), str(ref.options.get("model"))
    if ref.kind == OWN_LOOP:
        return False
    return ref.kind not in BUILTIN or file_of(metric) is not None or ":" in model.partition(":")[2]


def undecided_of(ref: TaskRef, load: bool = True) -> Mapping[str, Undecided]:
    """The options of a spec's task that nobody has decided (see `Task.undecided`).

    Args:
        load: whether a user's own code is run to know; without it nothing is said of that.

    Raises:
        LabError: as `load_task`.
    """
    if ref.kind in BUILTIN:  # without torch
        return BUILTIN[ref.kind].options.parse(ref.options).undecided()
    if not load and ref.opened is None and ref.instance is None:
        return {}
    task = load_task(ref)
    return task.undecided if hasattr(task, "undecided") else {}


def paths_of(ref: TaskRef, needed: bool = False) -> tuple[str, ...]:
    """The options of a spec's task that may name files or folders; a user's own code is imported to know.

    Args:
        needed: without those of which a study's folder keeps what it needs.

    Raises:
        LabError: as `load_task`.
    """
    if ref.kind in BUILTIN:
        options = BUILTIN[ref.kind].options
        return tuple(name for name in options.paths() if not (needed and name in options.kept_paths()))
    made = ref.opened or ref.instance
    if made is None:
        check_reference(ref)
        made = _named(ref)[0]
    return tuple(getattr(made, "paths", ()))


def _named(ref: TaskRef) -> tuple[Any, Path | None]:
    """What a reference names, and the file or the package's folder whose lines are the user's; None: all are ours."""
    if ref.kind in BUILTIN:
        return _imported(BUILTIN[ref.kind].task), None
    origin, name = _parts(ref.kind)
    if not name:
        named = plugins.load("lab.tasks", ref.kind, "task.kind")
        return named, home_of(getattr(named, "__module__", ""))
    file = _path(ref) if origin.endswith(".py") else None
    module = import_file(file) if file else import_module(origin)
    if not hasattr(module, name):
        raise TaskError(f"{file or origin}: has no '{name}'{nearest(name, vars(module))}")
    return getattr(module, name), file or home_of(origin)


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _construct(ref: TaskRef, cls: type[_Made], own: Path | None) -> _Made:
    # A task of the user's own that builds on one of ours reads its data beside the spec, as ours do.
    options = {**ref.options, **absolute(ref.options, getattr(cls, "paths", ()), Path(ref.root))}
    try:
        inspect.signature(cls).bind(**options)
    except TypeError as error:
        raise SpecError("task", f"{ref.kind}: {error}") from None
    try:
        return cls(**options)
    except LabError:
        raise
    except Exception as error:
        raise TaskError(f"{ref.kind}: {line_of(error, own)}{said_by(error)}") from error


def _parts(kind: str) -> tuple[str, str]:
    """The file or module of a task and its name there; both empty where the kind is a word."""
    origin, _, name = kind.rpartition(":")
    return (origin, name) if origin else ("", "")


def _path(ref: TaskRef) -> Path:
    return (Path(ref.root) / _parts(ref.kind)[0]).resolve()


def _is_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))
