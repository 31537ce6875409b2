"""From the `task` of a spec to the task itself. Knowing the built-in tasks by name needs no torch."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lab.errors import LabError, SpecError, TaskError, nearest
from lab.spec.plan import TaskRef
from lab.tasks.builtin import BUILTIN, absolute
from lab.tasks.description import Description

if TYPE_CHECKING:
    from lab.tasks.task import Task, TrialFunction


def describe(ref: TaskRef) -> Description:
    """What is known of a task's data before it is built; nothing for a user's own class.

    Raises:
        LabError: its data cannot be trained on.
    """
    check_reference(ref)
    builtin = BUILTIN.get(ref.kind)
    if builtin is None or not builtin.describe:
        return Description(train_examples=builtin.train_examples if builtin else None)
    module, _, function = builtin.describe.partition(":")
    found: Description = getattr(importlib.import_module(module), function)(ref.options)
    return found


def check_reference(ref: TaskRef) -> None:
    """Refuse a task that cannot exist, as far as that can be seen without importing it."""
    if ref.kind in BUILTIN:
        allowed = BUILTIN[ref.kind].options
        for key in ref.options:
            if key not in allowed:
                raise SpecError(f"task.{key}", f"is unknown{nearest(key, allowed)}; allowed: {', '.join(allowed)}")
        for key in BUILTIN[ref.kind].required:
            if ref.options.get(key) is None:
                raise SpecError(f"task.{key}", f"is missing: {allowed[key]}")
        return
    path, _, name = ref.kind.rpartition(":")
    if not path.endswith(".py") or not name:
        choices = ", ".join([*BUILTIN, "FILE.py:NAME"])
        raise SpecError("task.kind", f"{ref.kind!r} is unknown{nearest(ref.kind, BUILTIN)}; choices: {choices}")
    if not _path(ref).is_file():
        raise SpecError("task.kind", f"the file {_path(ref)} does not exist")


def load_task(ref: TaskRef) -> Task | TrialFunction:
    """The task that a spec names.

    Raises:
        SpecError: there is no such task, or an option it does not know.
        TaskError: the user's file does not import, or does not hold a task; with the user's line.
    """
    from lab.tasks.task import Task, TrialFunction

    for known in (ref.opened, ref.instance):
        if isinstance(known, (Task, TrialFunction)):
            return known
    check_reference(ref)
    path = None if ref.kind in BUILTIN else _path(ref)
    if path is None:
        builtin = BUILTIN[ref.kind]
        found: Any = getattr(importlib.import_module(builtin.module), builtin.name)
    else:
        name = ref.kind.rpartition(":")[2]
        module = _import_file(path)
        if not hasattr(module, name):
            raise TaskError(f"{path}: has no '{name}'{nearest(name, vars(module))}")
        found = getattr(module, name)
    if isinstance(found, TrialFunction):
        if ref.options:
            raise SpecError("task", f"a trial function takes no options; got {sorted(ref.options)}")
        return found
    if not (inspect.isclass(found) and issubclass(found, Task)):
        raise TaskError(f"{ref.kind}: is neither a subclass of lab.Task nor made by @lab.trial_function")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise TaskError(f"{ref.kind}: lacks {', '.join(missing)}")
    task = _construct(ref, found, path)
    if ref.cache:
        task.cache = Path(ref.cache)
    return task


def _construct(ref: TaskRef, cls: type[Task], path: Path | None) -> Task:
    # A task of the user's own that builds on one of ours reads its data beside the spec, as ours do.
    options = {**ref.options, **absolute(ref.options, cls.paths, Path(ref.root))}
    try:
        inspect.signature(cls).bind(**options)
    except TypeError as error:
        raise SpecError("task", f"{ref.kind}: {error}") from None
    try:
        return cls(**options)
    except LabError:
        raise
    except Exception as error:
        raise TaskError(f"{ref.kind}: {_where(error, path)}{_said(error)}") from error


def _path(ref: TaskRef) -> Path:
    return (Path(ref.root) / ref.kind.rpartition(":")[0]).resolve()


def _import_file(path: Path) -> ModuleType:
    name = f"_lab_task_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    sys.path.insert(0, str(path.parent))  # a task file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may end itself when it is imported
        del sys.modules[name]
        raise TaskError(f"{_where(error, path)}{_said(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _said(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(message.split())}"


def _where(error: BaseException, path: Path | None) -> str:
    """`file:line: ` of the innermost frame in the user's file, so that the user's line is named and not ours."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if path is None or Path(f.filename) == path]
    return f"{mine[-1].filename}:{mine[-1].lineno}: " if mine else (f"{path}: " if path else "")
