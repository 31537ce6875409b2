"""What a study asks of whatever runs its lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
    milliseconds: dict[tuple[str, int], float]
    """Per trial and optimizer step, by path and rows of a stacked model."""
    stack: int = 1
    """How many of the slots are trained as one stacked model."""
    groups: dict[str, int] = field(default_factory=dict)
    """How many groups of trials each hyperparameter makes that a stacked model must have in common."""
    refused: tuple[str, ...] = ()
    """Why paths that might be faster are closed."""
    threads: int = 1
    """That share a step."""

    @property
    def timed(self) -> dict[str, float]:
        """The times by `path x rows`, rounded."""
        return {f"{path} x {rows}": round(ms, 4) for (path, rows), ms in self.milliseconds.items()}


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
