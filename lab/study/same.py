"""Whether a spec asks for the study that a folder holds: where data and code of its task lie is no part of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from lab.spec.plan import TaskRef
from lab.spec.study import StudySpec
from lab.study.budget import as_asked
from lab.study.objective import as_stored
from lab.study.undecided import with_undecided
from lab.tasks.load import paths_of, undecided_of
from lab.tasks.options import is_path

_SHOWN = 60
"""Characters of a value that are shown."""


def difference(stored: StudySpec, asked: StudySpec) -> str | None:
    """The settings that a spec has otherwise than the study that a folder holds: the first with both values. None where
    it asks for that study: as this version writes it, or as one that did not try its options, or in other folders.

    Raises:
        LabError: as `lab.tasks.load.load_task`; where the specs are equal as they stand, nothing is loaded.
    """
    if asked.budget is not None and asked.budget.asked is None:
        stored = as_asked(stored)
    held, asked = _what(stored), as_stored(asked, stored)
    if held == _what(asked):
        return None
    versions = [_what(version) for version in (with_undecided(asked), asked, _earlier(asked))]
    unlike, version = min(((unequal(asked.task, held, v), v) for v in versions), key=lambda pair: len(pair[0]))
    if not unlike:
        return None
    names, *more = unlike
    one, other = (reduce(lambda part, name: part.get(name, {}), names, what) for what in (held, version))
    others = f", and {len(more)} more" if more else ""
    return f"{'.'.join(names)} is {_shown(one)} there and {_shown(other)} here{others}"


def moved(stored: TaskRef, asked: TaskRef) -> TaskRef:
    """The task of a folder's study, with its data and code where a spec of the same study says that they are."""
    paths = paths_of(asked)
    here = {name: value for name, value in asked.options.items() if name in paths and is_path(name, value)}
    return replace(stored, kind=asked.kind, root=asked.root, options={**stored.options, **here})


def unequal(task: TaskRef, held: Mapping[str, Any], asked: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The names that lead to each setting in which two specs, as mappings, differ wherever the files of `task` lie.

    Raises:
        LabError: as `lab.tasks.load.load_task`.
    """
    paths = paths_of(task)
    return list(_unequal(_anywhere(held, paths), _anywhere(asked, paths)))


def _unequal(held: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name in dict.fromkeys((*held, *asked)):
        one, other = held.get(name), asked.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from ((name, *rest) for rest in _unequal(one, other))
        elif one != other:
            yield (name,)


def _what(spec: StudySpec) -> dict[str, Any]:
    """The question, without options that are left to their default: an earlier version had not all of them."""
    what = spec.what()
    return what | {"task": {name: value for name, value in what["task"].items() if value is not None}}


def _earlier(spec: StudySpec) -> StudySpec:
    """The spec as a version wrote it that had a default in place of `auto`."""
    options = dict(spec.task.options)
    options |= {name: u.earlier for name, u in undecided_of(spec.task).items() if name in options}
    return spec.model_copy(update={"task": replace(spec.task, options=options)})


def _anywhere(what: Mapping[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The question, wherever the files lie that its task names."""
    task = {name: _anyplace(v) if name in paths and is_path(name, v) else v for name, v in what["task"].items()}
    return {**what, "task": task | {"kind": _code(task["kind"]), "root": "."}}


def _anyplace(path: str) -> str:
    """What a path says wherever it lies: of code its name, of data that there are some."""
    return _code(path) if path.rpartition(":")[0].endswith(".py") else ""


def _code(name: str) -> str:
    """FILE.py:NAME without the file's folder; any other name as it is."""
    file, _, own = name.rpartition(":")
    return f"{Path(file).name}:{own}" if file.endswith(".py") else name


def _shown(value: object) -> str:
    text = "missing" if value == {} or value is None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
