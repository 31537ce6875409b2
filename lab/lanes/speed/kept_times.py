"""Times of a model's steps that an earlier study took on this machine, so that the next one decides as it did.

A timing is a measurement: taken anew it may fall on the other side of a threshold, and the same spec would run in
another engine or width. Kept times also spare a study the second that timing takes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.errors import RecordError, first_line
from lab.lanes.lane import template_of
from lab.lanes.speed.contention import Contention
from lab.record.folder import json_form, read_json, write_json
from lab.record.provenance import processor, versions
from lab.record.user_folder import cache_folder
from lab.spec.plan import Job
from lab.tasks.build import build_model, first_examples
from lab.tasks.load import load_task
from lab.tasks.task import Task
from lab.training.accelerator import name_of
from lab.training.device import pick_device
from lab.training.waiting import waiting

_LOG = logging.getLogger(__name__)
_SETTINGS = ("path", "threads", "stop_at", "weights", "folds", "with_valid", "record_losses", "processes")
"""Fields of `Training` that are part of a time's name, or change no step's time."""
_SHORTEST_MS, _LONGEST_MS = 1e-6, 1e7


class KeptTimes:
    """The times of one model on one kind of machine, in milliseconds per trial and step.

    A file that cannot be read or is another version's counts as none. One that cannot be written is said once, in one
    line: the study goes on with what it has timed. Times taken while other processes compute are used and not kept.
    """

    def __init__(self, job: Job) -> None:
        self.taken = False
        """Whether one of the times that were asked for is an earlier study's."""
        self._kept: dict[str, float] = {}
        """What the file holds, or will."""
        self._path: Path | None = None
        try:
            self._path = cache_folder() / "times" / f"{_name_of(job)}.json"
            kept = read_json(self._path)["milliseconds"] if self._path.exists() else {}
            self._kept = {str(name): float(ms) for name, ms in kept.items() if _is_time(ms)}
        except (RecordError, OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError):
            pass  # damaged, or no home: it is timed anew
        self._earlier = frozenset(self._kept)
        self._times = dict(self._kept)

    def of(self, path: str, rows: int, threads: int, time: Callable[[], float]) -> float:
        """The kept time of so many rows on a path, or what `time` measures now."""
        name = f"{path} x {rows} on {threads}"
        self.taken |= name in self._earlier
        if name not in self._times:
            contention = Contention()
            self._times[name] = time()
            if contention.is_quiet():
                self._kept[name] = self._times[name]
                self._write()
        return self._times[name]

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            write_json(self._path, {"milliseconds": self._kept})
        except (RecordError, OSError) as error:
            _LOG.warning("warning: times cannot be kept in %s: %s", self._path.parent, first_line(error))
            self._path = None


def _is_time(ms: object) -> bool:
    """Whether it can be the time of a step: what is damaged is timed anew."""
    return isinstance(ms, (int, float)) and not isinstance(ms, bool) and _SHORTEST_MS <= ms <= _LONGEST_MS


def _name_of(job: Job) -> str:
    """A name for what decides how long a step takes: machine, versions, model, data and how they are trained."""
    task = load_task(job.task)
    assert isinstance(task, Task)  # nothing else is timed
    device = pick_device(job.training.device)
    data = task.data("train")
    x, y = first_examples(data)
    model = build_model(task, template_of(job), 0, task.model_input(x))
    training = {name: value for name, value in asdict(job.training).items() if name not in _SETTINGS}
    said: dict[str, Any] = {
        "versions": versions(),
        "processor": [processor(), os.cpu_count()],
        "device": name_of(device),
        "waiting": waiting(),
        "model": [str(model), {name: list(tensor.shape) for name, tensor in model.state_dict().items()}],
        "data": [len(data[0]), list(x.shape[1:]), str(x.dtype), list(y.shape[1:]), str(y.dtype)],
        "task": [job.task.kind, job.task.options],
        "training": training,
    }
    return hashlib.sha256(json.dumps(json_form(said), sort_keys=True, default=str).encode()).hexdigest()[:32]
