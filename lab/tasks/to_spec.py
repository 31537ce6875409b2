"""A task made in Python, as a spec can name it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import SpecError
from lab.spec.plan import OWN_LOOP
from lab.tasks.builtin import BUILTIN, rooted
from lab.tasks.options import absolute


def spec_value(task: object) -> dict[str, Any]:
    """A task as a spec's value: a kind, its options, or an object with the file and the name it comes from."""
    if isinstance(task, str):
        return {"kind": task}
    if isinstance(task, Mapping):
        return {**task, **rooted(str(task.get("kind")), task, Path.cwd())}
    if isinstance(task, type):
        raise SpecError("task", f"is the class {task.__name__}; give a task made of it: {task.__name__}()")
    if not (hasattr(task, "data") or hasattr(task, "function")):  # neither a Task nor a trial function, without torch
        raise SpecError("task", f"{task!r} is no task; give a kind, FILE.py:NAME, a mapping with its kind, or a Task")
    if f"{type(task).__module__}:{type(task).__qualname__}" == OWN_LOOP:
        return {"kind": OWN_LOOP, **getattr(task, "options", {}), "given": task}
    cls = getattr(task, "function", type(task))
    options = dict(getattr(task, "options", {}))
    for kind, builtin in BUILTIN.items():
        if f"{cls.__module__}:{cls.__qualname__}" == builtin.task:
            return {"kind": kind, **options, **rooted(kind, options, Path.cwd()), "given": task}
    options |= absolute(options, getattr(cls, "paths", ()), Path.cwd())
    try:
        kind = f"{inspect.getsourcefile(cls)}:{cls.__qualname__}"
    except (TypeError, OSError):  # a class made at a prompt has no file
        kind = f"{cls.__module__}.py:{cls.__qualname__}"
    return {**options, "kind": kind, "root": "/", "given": task}
