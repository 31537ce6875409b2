"""Whether data that are read again are those that a study began with: their tensors, and names, which these lack."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from lab.errors import RecordError
from lab.record.folder import Record
from lab.spec.plain_values import shown

if TYPE_CHECKING:
    from lab.spec.folds import Folds
    from lab.tasks.task import Task

_INSTEAD = "restore them, or run the study with another --dir"


def digest_of(task: Task, folds: Folds | None) -> str:
    """A digest of what is trained and validated on: two equal ones are the same data, split alike."""
    from lab.tasks.rows_read import content_of
    from lab.tasks.task import TRAIN_AND_VALID

    digest = hashlib.sha256()
    for split in TRAIN_AND_VALID:
        for tensor in task.data(split):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(content_of(tensor))
    if folds is not None:
        digest.update(repr(folds.fold_of).encode())
    return digest.hexdigest()[:24]


def names_of(task: Task) -> dict[str, list[str]]:
    """What a task's data are called, as `task.json` keeps it."""
    return {what: list(map(str, names)) for what, names in task.data_names().items() if names}


def require_same(task: Task, record: Record) -> None:
    """Refuse a task that was restored, where its data are others than those that the study began with.

    Raises:
        RecordError: they are.
    """
    from lab.tasks.folds import folds_of

    kept = record.task()
    if kept is not None:
        compare(task, digest_of(task, folds_of(task)), kept, record)


def compare(task: Task, digest: str, kept: Mapping[str, Any], record: Record) -> None:
    """Refuse data, by their digest, that are not those of which `task.json` tells, or are called otherwise.

    Args:
        task: with what it had learned when the study began.

    Raises:
        RecordError: with what differs, where that is a name.
    """
    now = names_of(task)
    for what, names in _names_before(task, kept, record).items():
        if names != now.get(what, []):
            differs = _first_difference(names, now.get(what, []))
            raise RecordError(
                f"{record.task_path}: the data are not those that the study began with: {what} {differs}; {_INSTEAD}"
            )
    if kept["data"] != digest:
        raise RecordError(f"{record.task_path}: the data are not those that the study began with; {_INSTEAD}")


def _names_before(task: Task, kept: Mapping[str, Any], record: Record) -> Mapping[str, Sequence[str]]:
    names = kept.get("names")
    if names is None:  # of an earlier version, which kept those of the classes with what it learned, if at all
        before = [] if kept["fitted"] is None or "class" not in names_of(task) else list(map(str, task.class_names))
        return {"class": before} if before else {}
    fits = isinstance(names, dict) and all(
        isinstance(one, list) and all(isinstance(name, str) for name in one) for one in names.values()
    )
    if not fits:
        raise RecordError(
            f"{record.task_path}: names: {shown(names)} is no mapping to lists of names; restore it from a copy"
        )
    return names  # type: ignore[no-any-return]


def _first_difference(before: Sequence[str], now: Sequence[str]) -> str:
    gone, new = ([name for name in some if name not in others] for some, others in ((before, now), (now, before)))
    if gone and new:
        return f"{gone[0]!r} is {new[0]!r} now"
    if gone or new:
        return f"{gone[0]!r} is gone" if gone else f"{new[0]!r} is new"
    was, called = next((a, b) for a, b in zip_longest(before, now) if a != b)
    return f"{was!r} is {called!r} now"
