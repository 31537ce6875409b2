"""What a stage is: one declaration, from which running, counting, extending, reading and showing it follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from lab.errors import RecordError
from lab.lanes.engine import Engine
from lab.record.artefact import read_artefact, to_json
from lab.record.folder import Record, write_json
from lab.spec.study import StudySpec

A = TypeVar("A")


@dataclass(frozen=True)
class Skipped:
    """In an artefact's stead, where a stage had nothing to do."""

    skipped: str
    """Why."""


class Trainings(NamedTuple):
    """What a stage trains, if no trial ends early."""

    trainings: int
    epochs: int
    """Epochs of all trainings together."""
    steps: int = 0
    """Optimizer steps of trainings that are counted in steps, all of them together."""
    snapshots: int = 0
    """Snapshots that all of them leave, at most: each has the size of a model's weights."""


@dataclass(frozen=True)
class Stage(Generic[A]):
    """A stage of a study.

    The module that declares it is imported by whoever lists studies: it needs no torch before its `run` is called.
    """

    name: str
    run: Callable[[StudySpec, Record, Engine], A | Skipped]
    """Reads the artefacts of the stages before and gives its own, which whoever runs the stages writes; one that trains
    nothing looks at no engine."""
    artefact: tuple[type[A], ...]
    """The kinds of artefact that it may leave, the usual one first; each of them may be `Skipped` as well. Fields that
    have a default may be missing in a file."""
    headline: Callable[[A], str]
    """What it found, in a few words."""
    trainings: Callable[[StudySpec, float | None], Trainings] | None = None
    """What it trains, by the optimizer steps of an epoch where they are known; None: it trains nothing."""
    extended: Literal["stays", "goes on", "anew"] = "anew"
    """When a study is extended: artefact and trials stay; the trials stay and more are made; or all is made anew."""
    file: str = ""
    """The name of the artefact's file, if not the stage's."""
    needless: Callable[[Record], str | None] = field(default=lambda record: None)
    """Why a study has no artefact of it and needs none, since a version wrote it that did not have the stage."""

    def path(self, record: Record) -> Path:
        """Where the artefact lies, once there is one."""
        return record.artefact_path(self.file or self.name)

    def read(self, record: Record) -> A | Skipped | None:
        """What the stage wrote when it was complete, else None.

        Raises:
            RecordError: the file is damaged.
        """
        path = self.path(record)
        kinds: tuple[type[A | Skipped], ...] = (*self.artefact, Skipped)
        if path.exists():
            return read_artefact(path, kinds)
        why = self.needless(record)
        return None if why is None else Skipped(why)

    def is_complete(self, record: Record) -> bool:
        """Whether it has run or was skipped, by what lies there and not by what it says."""
        return self.path(record).exists() or self.needless(record) is not None

    def if_any(self, record: Record) -> A | None:
        """The same, but None where it was skipped as well."""
        artefact = self.read(record)
        return None if isinstance(artefact, Skipped) else artefact

    def complete(self, record: Record) -> A | Skipped:
        """What the stage wrote.

        Raises:
            RecordError: it has not run, or the file is damaged.
        """
        artefact = self.read(record)
        if artefact is None:
            raise RecordError(f"{self.path(record)}: is missing; stage '{self.name}' has to run first")
        return artefact

    def need(self, record: Record) -> A:
        """What the stage found.

        Raises:
            RecordError: it has not run, was skipped, or the file is damaged.
        """
        artefact = self.complete(record)
        if isinstance(artefact, Skipped):
            raise RecordError(f"{self.path(record)}: stage '{self.name}' was skipped: {artefact.skipped}")
        return artefact

    def write(self, record: Record, artefact: A | Skipped) -> A | Skipped:
        """Store a complete stage's artefact and give it back as it will be read."""
        write_json(self.path(record), to_json(artefact))
        return self.complete(record)

    def said(self, artefact: A | Skipped) -> str:
        """What the artefact says, in a few words."""
        return f"skipped: {artefact.skipped}" if isinstance(artefact, Skipped) else self.headline(artefact)
