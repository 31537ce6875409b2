"""What a study asks of whatever runs its lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from lab.assignment import Job, Progress

Watch: TypeAlias = Callable[[Progress], bool]
"""Told of progress a few times a second; False asks the engine to end running epochs, save, and stop."""


@dataclass(frozen=True)
class Probe:
    """How a job's trials are trained fastest on one lane of this engine, and how that was found."""

    path: str
    width: int
    reason: str
    milliseconds: dict[str, float]
    """Per trial and optimizer step, by `path x width`."""


class Engine(Protocol):
    """Runs jobs on lanes. Every implementation passes one conformance suite."""

    name: str
    lanes: int

    def probe(self, job: Job, widest: int) -> Probe:
        """Time the paths and widths open to a job, up to `widest` slots."""

    def run(self, job: Job) -> Progress:
        """Run a job to its end.

        Raises:
            Interrupted: asked to stop; all is saved.
            StudyError: too many of the job's trials failed.
            EngineError: lanes were lost for good.
        """

    def close(self) -> None:
        """Let go of lanes and machines."""
