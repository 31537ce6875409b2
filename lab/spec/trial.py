"""The trial, which is one value from the plan of a stage to the report, and the ways in which it may end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from lab.schedules import Schedule
from lab.spec.space import Params


class Outcome(StrEnum):
    """The way in which a trial ended."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    """It breaks a constraint: by its costs, before it is trained, or by a metric at its end."""
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"
    FAILED = "failed"
    PREEMPTED = "preempted"


@dataclass(frozen=True)
class Trial:
    """One configuration and one seed, trained to a number of epochs. Whoever adds something to it wraps it.

    A trial function is called with one: it reads `params`, `schedule`, `epochs` and `seed`.

    >>> lab.Trial({"max_lr": 0.01, "dropout": 0.2}, seed=0, epochs=9).params["dropout"]
    0.2
    """

    params: Params
    seed: int
    epochs: int
    role: str = ""
    """The reason for which the stage trains it, in the stage's own words."""
    own_schedule: Schedule | None = None
    """The schedule of an assigned trial, or of one that does not follow the recipe. None: the job's recipe makes it."""
    keep: bool = False
    """Whether weights are kept at every cycle end."""
    fold: int | None = None
    """The fold of the training and validation rows that it leaves out and is judged by. None: it is trained on the
    training split."""

    @property
    def schedule(self) -> Schedule:
        """The curve of lr, momentum and weight decay that it is trained by.

        Raises:
            LookupError: it is only planned yet, and the job's recipe will make its schedule.
        """
        if self.own_schedule is None:
            raise LookupError("a planned trial has its schedule from the job's recipe, once it is assigned to a lane")
        return self.own_schedule


class Observed(Protocol):
    """A trial as a sampler learns from it, be it this study's or another's."""

    @property
    def params(self) -> Params: ...

    @property
    def outcome(self) -> Outcome | None: ...

    @property
    def score(self) -> float | None: ...

    @property
    def curve(self) -> Mapping[int, float]:
        """Score by epoch."""


@dataclass(frozen=True)
class Observation:
    """A trial of another study: it teaches the sampler and counts as none of this one's."""

    params: Params
    outcome: Outcome
    score: float | None
    curve: Mapping[int, float]


def derive_seed(*parts: int | str) -> int:
    """A 31-bit seed that depends on every part; the same parts give the same seed on every machine."""
    entropy = [b for part in parts for b in (str(part).encode() + b"\0")]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
