"""The interface of what runs a study's lanes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from lab.spec.exchange import Progress
from lab.spec.plan import Job

Watch: TypeAlias = Callable[[Progress], bool]
"""Gets the progress a few times a second. It returns False to make the engine end running epochs, save, and stop."""


@dataclass(frozen=True)
class Probe:
    """The fastest way to train a job's trials on one lane of this engine, and the timings that show it."""

    path: str
    width: int
    reason: str
    milliseconds: dict[tuple[str, int], float]
    """Milliseconds per trial and optimizer step, by path and rows of a stacked model."""
    stack: int = 1
    """Slots that are trained as one stacked model."""
    groups: dict[str, int] = field(default_factory=dict)
    """Number of groups that a hyperparameter splits the trials into. A stacked model takes trials of one group."""
    refused: tuple[str, ...] = ()
    """Reasons why paths that might be faster are closed."""
    threads: int = 1
    """Threads that share a step."""
    kept: bool = False
    """Whether an earlier study on this machine has timed some of it."""

    @property
    def timed(self) -> dict[str, float]:
        """The times by `path x rows`, rounded."""
        return {f"{path} x {rows}": round(ms, 4) for (path, rows), ms in self.milliseconds.items()}


@dataclass(frozen=True)
class Promise:
    """The largest difference that a trial's numbers may have when it is trained again on a lane."""

    among: float | None
    """The largest difference of a weight or score per step between rows of one stack, relative to the largest weight of
    its tensor. 0: equal to the last bit. None: it could not be tried."""
    other_width: float | None
    """The largest difference from a lane of one slot, in the same unit."""
    reason: str = ""
    """The reason why it could not be tried."""

    @property
    def line(self) -> str:
        """The promise as a line of text."""
        if self.among is None or self.other_width is None:
            return f"it could not be tried whether a trial trains alike alone and among others ({self.reason})"
        if self.among:
            return f"a trial is equal to {_about(self.among)} alone, among others and resumed, not to the last bit"
        if self.other_width:
            other = f"with another width to {_about(self.other_width)}"
            return f"a trial is equal to the last bit alone, among others and resumed; {other}"
        return "a trial is equal to the last bit alone, among others, resumed and with another width"


def _about(difference: float) -> str:
    if math.isinf(difference):
        return "nothing: one is a number and the other is not,"
    return f"about {10.0 ** math.ceil(math.log10(difference)):.0e} per step"


class Engine(Protocol):
    """Runs jobs on lanes. Every implementation passes one conformance suite."""

    name: str
    lanes: int

    def probe(self, job: Job, widest: int) -> Probe:
        """Time the paths and widths open to a job, up to `widest` slots."""

    def self_test(self, job: Job) -> Promise:
        """Test on a lane whether the rows of a job's stacks compute alike. The job's path and width are settled."""

    def run(self, job: Job) -> Progress:
        """Run a job to its end.

        Raises:
            Interrupted: asked to stop; all is saved.
            StudyError: too many of the job's trials failed.
            EngineError: lanes were lost for good.
        """

    def close(self) -> None:
        """Let go of lanes and machines."""
