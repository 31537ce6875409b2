"""What commands answer with `--json`: a dataclass for each, which is printed and from which its schema is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OMITTED = "omitted"
"""In a field's metadata: it is left out where it is null."""
FLAT = "flat"
"""In a field's metadata: its own keys stand in its place."""


@dataclass(frozen=True)
class ListedStudy:
    """A study's folder."""

    folder: str
    complete: bool
    stages: Sequence[str]
    """Those that are complete."""


@dataclass(frozen=True)
class StudyList:
    """The studies of a folder."""

    studies: Sequence[ListedStudy]


@dataclass(frozen=True)
class Predictions:
    """What a study's ensemble predicts for a file's inputs."""

    kind: str
    """`classification`, `multilabel`, `regression`, or `several` for targets of different kinds."""
    examples: int
    scores: Mapping[str, float] | None
    """By metric; null where the file has no targets."""
    targets: Mapping[str, str] | None = field(default=None, metadata={OMITTED: True})
    """The kind of each of several targets, by its name. Left out where there is one kind."""
    predictions: Any = field(default=None, metadata={OMITTED: True})
    """Keys `columns` and `data`, a row for each input, as `pandas.DataFrame` takes them; or a nested array, where each
    part of an input has predictions. Left out where they are written to a file."""
    output: str | None = field(default=None, metadata={OMITTED: True})
    """The file that they are written to."""


@dataclass(frozen=True)
class Doctor:
    """Whether studies can run here."""

    fine: bool
    facts: Mapping[str, str] = field(metadata={FLAT: True})
    """By what they are about: versions of packages, the processor, the GPU, Ray, W&B, the folder."""


@dataclass(frozen=True)
class ScheduleKinds:
    """The schedules that there are."""

    schedules: Mapping[str, str]
    """By kind, in a line."""
    of_packages: Mapping[str, str]
    """By kind, the package that brings it."""


@dataclass(frozen=True)
class ScheduleTable:
    """What a schedule does at every step."""

    schedule: Mapping[str, Any]
    """As a spec writes it."""
    steps: int
    cycle_ends: Sequence[int]
    table: Mapping[str, Sequence[float]]
    """A value for each step, by `step`, `lr`, `momentum` and `weight_decay`."""


@dataclass(frozen=True)
class TaskOption:
    """An option of a built-in task."""

    meaning: str
    required: bool
    default: Any


@dataclass(frozen=True)
class BuiltinTask:
    """A built-in task."""

    summary: str
    options: Mapping[str, TaskOption]


@dataclass(frozen=True)
class TaskList:
    """The tasks that there are."""

    tasks: Mapping[str, BuiltinTask]
    of_packages: Mapping[str, str]
    """By kind, the package that brings it."""


@dataclass(frozen=True)
class Point:
    """A point of the task contract."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True)
class TaskCheck:
    """A task tried against the contract."""

    task: str
    passed: bool
    findings: Sequence[Point]
    facts: Sequence[str]
    warnings: Sequence[str]


ANSWERS: Mapping[str, str] = {
    "study check": "lab.study.estimate:Checked",
    "study list": "lab.cli.answers:StudyList",
    "study status": "lab.study.status:Status",
    "study show": "lab.report.summary:Summary",
    "study ask": "lab.stages.what_if:Expected",
    "study compare": "lab.report.summary:Comparison",
    "predict": "lab.cli.answers:Predictions",
    "doctor": "lab.cli.answers:Doctor",
    "schedule list": "lab.cli.answers:ScheduleKinds",
    "schedule": "lab.cli.answers:ScheduleTable",
    "task list": "lab.cli.answers:TaskList",
    "task check": "lab.cli.answers:TaskCheck",
    "lr-range": "lab.study.range_test:Suggested",
}
"""The answer of each command with `--json`, as module and dataclass: whoever lists commands imports none of them."""
