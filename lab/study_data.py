"""A study's data: looked at once before anything trains, and the same for as long as the study lives."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError, RecordError
from lab.record import Record, write_json
from lab.spec import StudySpec
from lab.tasks.builtin import BUILTIN
from lab.tasks.registry import load_task


def open_data(spec: StudySpec, record: Record) -> tuple[StudySpec, tuple[str, ...]]:
    """Let the task look at its data, and keep what it learned and said; with the task opened, and what it doubts.

    Raises:
        RecordError: the data are not those that the study began with.
        LabError: they cannot be trained on.
    """
    from lab.tasks.contract import TrialFunction

    task = load_task(spec.task.ref())
    if isinstance(task, TrialFunction):
        return spec, ()
    task.cache = record.data_folder.resolve()
    builtin = BUILTIN.get(spec.task.kind)
    if builtin is not None and builtin.describe:  # travels as its options; need not be read for every stage
        spec = spec.model_copy(update={"task": spec.task.model_copy(update={"given": task})})
    fitted, description = task.fitted(), task.describe()
    kept = record.task()
    if kept is None or not record.begun:
        value = {"fitted": fitted, "facts": description.facts, "warnings": description.warnings}
        write_json(record.task_path, value)
    elif not _same_data(kept["fitted"], fitted):
        raise RecordError(
            f"{record.task_path}: the data are not those that the study began with; restore them, or run the "
            "study with another --dir"
        )
    return spec, description.warnings


def _same_data(kept: Mapping[str, Any] | None, fitted: Mapping[str, Any] | None) -> bool:
    """Whether a task was fitted to the data it was fitted to before; by its digest of them, where it has one."""
    if kept is None or fitted is None:
        return kept is fitted
    if "data" in kept and "data" in fitted:
        return bool(kept["data"] == fitted["data"])
    return bool(json.loads(json.dumps(fitted)) == kept)


@contextlib.contextmanager
def undone_if_refused(folder: Path, fresh: bool) -> Iterator[None]:
    """Leave no folder of a study that was refused before it began."""
    try:
        yield
    except LabError:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        raise
