"""Stage 6: from final models to one calibrated average, with every control at equal budget beside it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator

from lab.lanes.engine import Engine
from lab.lanes.job import task_of
from lab.record.artefact import Measured
from lab.record.folder import Record
from lab.spec.plan import Direction
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.stages import final
from lab.stages.column_importance import ColumnImportances
from lab.stages.diagnostics import Diagnostics, Example
from lab.stages.final import LONG, SHORTER
from lab.stages.stage import Skipped, Stage
from lab.stages.statistics import Interval

BASELINE = "baseline"
"""The role of a member that is no net."""


def baseline_file(name: str, fold: int | None = None) -> str:
    """Where a baseline lies that has joined, in the folder of the stage that trained it; `fold`: the one left out."""
    stem = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{stem}.skops" if fold is None else f"{stem}-{fold}.skops"


@dataclass(frozen=True)
class Member:
    """A snapshot, or a model of another kind, that the ensemble averages."""

    file: str
    """The name of its weights in the folder of the stage that trained it."""
    params: Params
    """What its net is built from."""
    weight: float
    temperature: float = 1.0
    """What its own predictions are calibrated by before they are averaged; earlier versions did that."""
    role: str = ""
    name: str = ""
    """That of a baseline; a net has none."""


@dataclass(frozen=True)
class ChosenEnsemble:
    """What was chosen among the models that were trained on the training rows alone."""

    members: tuple[Member, ...]
    temperature: float
    valid_loss: Measured
    epochs: int
    """Epochs of all models that were trained to choose from."""
    test: dict[str, Measured]
    """By metric."""
    thresholds: tuple[float, ...] = ()
    """From which probability on each label is said; none: from a half on."""
    start_valid_loss: Annotated[float | None, BeforeValidator(lambda loss: math.nan if loss is None else loss)] = None
    """The validation loss of the plain mean of the 1cycle runs, from which the choice began; None: an earlier version
    chose, which began with the best single model, and did not write it."""
    out_of_fold: dict[str, Measured] | None = None
    """Where there are folds: by metric, over all training and validation rows, each predicted by models that were
    trained without it. The temperature and the thresholds are fitted on the same rows."""

    @property
    def nets(self) -> tuple[Member, ...]:
        """The members that are snapshots; there is always one."""
        return tuple(member for member in self.members if member.role != BASELINE)

    @property
    def others(self) -> dict[str, float]:
        """The weights of its baselines by name, each of which there may be several of: one for each fold."""
        names = dict.fromkeys(member.name for member in self.members if member.name)
        return {name: sum(member.weight for member in self.members if member.name == name) for name in names}

    @property
    def plain(self) -> bool:
        """Whether its nets are the plain mean of 1cycle runs of one length."""
        role, weight = self.nets[0].role, self.nets[0].weight
        alike = all((member.role, member.weight) == (role, weight) for member in self.nets)
        return alike and role in (LONG, SHORTER)

    @property
    def shorter(self) -> bool:
        """Whether runs as long as the search's were better than those of full length."""
        return all(member.role == SHORTER for member in self.nets)


@dataclass(frozen=True)
class Control:
    """Another way to spend some budget."""

    name: str
    epochs: int
    test: dict[str, Interval]
    """By metric, over seeds."""


@dataclass(frozen=True)
class Baseline:
    """A model of another kind, trained on the training split."""

    name: str
    test: dict[str, Measured]
    fit_s: float
    with_valid: dict[str, Measured] | None = None
    """Its test scores when trained on the validation split too, as what is handed out is; None where that is not."""

    @property
    def like_handed_out(self) -> dict[str, float]:
        """Its scores when it was trained on what the models handed out were trained on."""
        return self.with_valid or self.test


@dataclass(frozen=True)
class FailedBaseline:
    """One that could not be trained."""

    name: str
    failed: str
    """Why."""


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
    """The metric's direction; None in a file of an earlier version, where it is that of the search."""
    lacks: tuple[str, ...] = ()
    """What could not be made beside the models, and why."""
    diagnostics: tuple[Diagnostics, ...] = ()
    """What the chosen ensemble does on the test split, by target; an earlier version counted nothing."""
    column_importances: ColumnImportances | None = None
    """What the columns of a table are worth to the chosen ensemble; None for a task without columns, and in a file of
    an earlier version."""

    @property
    def test_score(self) -> float:
        return self.chosen.test[self.metric]


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
    chosen = artefact.chosen
    nets = chosen.nets
    runs = f"{'shorter ' if chosen.shorter else ''}1cycle run{'s' if len(nets) > 1 else ''}"
    what = f"the mean of {len(nets)} {runs}" if chosen.plain else f"{len(nets)} snapshots"
    what += "".join(f" and {name} (weight {weight:.2f})" for name, weight in chosen.others.items())
    test = f"test {artefact.metric} {artefact.test_score:.4g}"
    if chosen.out_of_fold is None:
        return f"{what}, trained on the training rows alone: {test}"
    return (
        f"{what}, which left out a fold each: {artefact.metric} {chosen.out_of_fold[artefact.metric]:.4g} there, {test}"
    )


STAGE = Stage("ensemble", run, (Ensembled,), _headline)
