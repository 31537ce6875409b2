"""Stage 3: a forest as the model of the response: what matters, how it acts, and how far to believe it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.errors import LabError
from lab.lanes.engine import Engine
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.response.findings import Coverage, Effect, Extrapolation, Importance, Interaction, Region, Surface
from lab.spec.plan import Direction
from lab.spec.study import StudySpec
from lab.stages.stage import Stage


@dataclass(frozen=True)
class TreeStd:
    """Standard deviation between trees, over the trials."""

    median: float
    max: float


@dataclass(frozen=True)
class Gain:
    """The gain of a further trial, beside what another seed alone changes; see `lab.search.gain.Gain`."""

    expected: float
    noise: float
    below_noise: bool


@dataclass(frozen=True)
class Withheld:
    """In the artefact's stead, where there is too little to fit a forest to."""

    withheld: str
    """Why."""
    trials: int


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What the forest says; where it is not to be believed, no more than how good it is."""

    trials: int
    diverged: int = 0
    pruned: int = 0
    explains: str
    """The metric, or the logarithm of the loss."""
    explains_direction: Direction = "minimize"
    instead_of: str | None = None
    """The metric, where it is too noisy to be explained."""
    out_of_bag_r2: float | None
    """On trials that it has not seen; None where all score the same."""
    believe_from: float
    """The least R2 with which a forest is believed."""
    withheld: str | None
    """Why it is not; None where it is."""
    coverage: tuple[Coverage, ...] = ()
    tree_std: TreeStd
    effects: tuple[Effect, ...]
    extrapolation: Extrapolation | None = None
    gain: Gain | None = None
    """None where too little is known."""
    importances: dict[str, float] | None
    measures: dict[str, dict[str, Importance]] = field(default_factory=dict)
    """Importances by measure and hyperparameter."""
    interactions: tuple[Interaction, ...] = ()
    surface: Surface | None = None
    """The surface of the pair that acts together most."""
    edges: dict[str, str] = field(default_factory=dict)
    """Which end of its range, `low` or `high`, the best values of a hyperparameter lie at."""
    widen: dict[str, str] = field(default_factory=dict)
    """The setting of the spec that widens such a range."""
    region: Region | None = None
    """The settings that are as good as the best, which is also told where the forest is not believed; None where there
    are too few trials to tell, or an earlier version explained."""


def run(spec: StudySpec, record: Record, engine: Engine) -> Explained | Withheld:
    """Fit the forest to the explore stage's trials; trains nothing. What it cannot explain, it withholds: nothing that
    is trained later depends on it."""
    from lab.stages.explanation import explain
    from lab.tasks.user_code import said_by

    try:
        return explain(spec, record)
    except LabError:
        raise
    except Exception as error:  # of libraries, on trials that they were not made for
        return Withheld(
            f"the forest could not be fitted ({said_by(error)})", len(read_trials(record, "explore", spec.store))
        )


def _headline(artefact: Explained | Withheld) -> str:
    r2 = artefact.out_of_bag_r2 if isinstance(artefact, Explained) else None
    return "out-of-bag R2 " + ("unknown" if r2 is None else f"{r2:.2f}")


STAGE: Stage[Explained | Withheld] = Stage("explain", run, (Explained, Withheld), _headline, file="response")
