"""The transfer of data from the driver to lanes on Ray: into the object store once, to each machine once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from lab.errors import EngineError
from lab.lanes.ray import code_transfer
from lab.spec.plan import Job, TaskRef
from lab.tasks.load import load_task
from lab.tasks.reading import is_handed
from lab.tasks.task import TRAIN_AND_VALID, Task
from lab.training.snapshots import pack, unpack

_BEFORE_TUNE = "TUNE_ORIG_WORKING_DIR"
"""The variable in which Tune leaves the folder that a lane's process had before."""


@dataclass(frozen=True)
class _Content:
    """A task's data as they travel."""

    fitted: Mapping[str, Any] | None
    tensors: bytes | None
    """The splits' tensors, as `pack` makes them; None: whoever opens the task finds them in a file."""


class DataTransfer:
    """The driver's end: puts an opened task's tensors where lanes find them."""

    def __init__(self) -> None:
        self._task: object = None
        self._address: ray.ObjectRef | None = None

    def in_job(self, job: Job) -> Job:
        """The job as it may leave this process."""
        task = job.task.opened
        if task is not self._task:
            self._task = task
            self._address = ray.put(_content(task)) if isinstance(task, Task) and task.takes else None
        task_ref = replace(job.task, opened=None, handed=self._address)
        return replace(job, task=task_ref, working_folder=_working_folder())


class OpenedTask:
    """A lane's end: the task, opened once in its process for all stages.

    Args:
        module: under which the user's files have come to this machine, where they have.
    """

    def __init__(self, module: str | None) -> None:
        self._module = module
        self._ref: TaskRef | None = None
        self._task: object = None

    def in_job(self, job: Job) -> Job:
        """The job with the user's file where this machine has it, and with the task opened where it was handed over;
        from then on this process works in the driver's folder, as lanes in the driver itself do.

        Raises:
            LabError: the task cannot be made here.
        """
        _go_to(job.working_folder)
        ref = code_transfer.arrived(job.task, self._module)
        if ref.handed is None:
            return replace(job, task=ref)
        if replace(ref, instance=None) != self._ref:  # a task made in Python comes anew with every job
            self._task = _opened(ref)
            self._ref = replace(ref, instance=None)
        return replace(job, task=replace(ref, opened=self._task))


def leave_reader(task: TaskRef | None) -> None:
    """Leave the Ray by which a task's data were read: a process has one, and lanes want theirs set up.

    Raises:
        EngineError: the task holds what that kept for it.
    """
    if task is None or not is_handed(task.opened):
        return
    ray.shutdown()
    try:
        ray.cloudpickle.dumps(task.instance)
    except Exception as error:
        raise EngineError(
            f"task: {type(task.instance).__name__} cannot travel to lanes on Ray ({type(error).__name__}); where it "
            "holds a materialized data set of Ray, make that in `data`, or choose --engine local"
        ) from error


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was deleted
        return None


def _go_to(folder: Path | None) -> None:
    """Leave the folder that Tune makes for a lane: for the driver's, or where this machine has none for that in which
    Ray has put the files of a job that was sent."""
    for candidate in (folder, os.environ.get(_BEFORE_TUNE)):
        with contextlib.suppress(OSError):
            if candidate is not None:
                os.chdir(candidate)
                return


def _content(task: Task) -> _Content:
    if task.mapped:
        return _Content(task.fitted(), None)
    pairs = {split: task.data(split) for split in TRAIN_AND_VALID}
    tensors = {f"{split}/{what}": pair[i] for split, pair in pairs.items() for i, what in enumerate("xy")}
    return _Content(task.fitted(), pack(tensors))


def _opened(ref: TaskRef) -> Task:
    task = load_task(ref)
    assert isinstance(task, Task)  # only such are handed over
    content: _Content = ray.get(ref.handed)
    if content.fitted is not None:
        task.restore(content.fitted)
    if content.tensors is not None:
        parts = unpack(content.tensors, "what the driver read")
        task.take({split: (parts[f"{split}/x"], parts[f"{split}/y"]) for split in TRAIN_AND_VALID})
    return task
