"""Stage 6: from final models to one calibrated ensemble, with every control at equal budget beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.lanes.engine import Engine
from lab.lanes.job import task_of
from lab.record.artefact import Measured
from lab.record.folder import Record
from lab.spec.plan import Direction
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.stages import final
from lab.stages.stage import Skipped, Stage
from lab.stages.statistics import Interval


@dataclass(frozen=True)
class Member:
    """A snapshot that the ensemble averages."""

    file: str
    """The name of its weights in `final/`."""
    params: Params
    """What its model is built from."""
    weight: float
    temperature: float
    role: str


@dataclass(frozen=True)
class ChosenEnsemble:
    """What is handed out."""

    members: tuple[Member, ...]
    temperature: float
    single: bool
    """No average beat the best single model on the validation split."""
    valid_loss: Measured
    single_valid_loss: Measured
    epochs: int
    """Epochs of all models that were trained to choose from."""
    test: dict[str, Measured]
    """By metric."""
    thresholds: tuple[float, ...] = ()
    """From which probability on each label is said; none: from a half on."""


@dataclass(frozen=True)
class Control:
    """Another way to spend one run's budget."""

    name: str
    epochs: int
    test: dict[str, Interval]
    """By metric, over seeds."""


@dataclass(frozen=True)
class Baseline:
    """A model of another kind, trained on the training split alone."""

    name: str
    test: dict[str, Measured]
    fit_s: float


@dataclass(frozen=True)
class FailedBaseline:
    """One that could not be trained."""

    name: str
    failed: str
    """Why."""


@dataclass(frozen=True)
class Example:
    """A test example, in words."""

    index: int
    said: str
    true: str
    shown: Mapping[str, Any]
    """What its task shows of it."""


@dataclass(frozen=True)
class Ensembled:
    """The ensemble and what it is compared with, on the test split."""

    metric: str
    kind: str
    test_examples: int
    chosen: ChosenEnsemble
    controls: tuple[Control, ...]
    baselines: tuple[Baseline | FailedBaseline, ...] = ()
    examples: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    """Those that it is most wrong, and least sure, about."""
    direction: Direction | None = None
    """Of the metric; None in a file of an earlier version, where it is that of the search."""


def run(spec: StudySpec, record: Record, engine: Engine) -> Ensembled | Skipped:
    """Select, calibrate, and score on the test split; trains nothing.

    Raises:
        StudyError: no final model left weights.
    """
    from lab.stages.selection import select
    from lab.tasks.task import Task

    task = task_of(spec)
    runs = final.STAGE.need(record).runs
    if not isinstance(task, Task):
        return Skipped("a trial function leaves no weights to average")
    return select(spec, record, task, runs)


def _headline(artefact: Ensembled) -> str:
    return f"test {artefact.metric} {artefact.chosen.test[artefact.metric]:.4g}"


STAGE = Stage("ensemble", run, (Ensembled,), _headline)
