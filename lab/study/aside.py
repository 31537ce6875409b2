"""Trains models aside from a finished study, in this process and a folder of their own, and judges them by the
validation rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.record.folder import Record
from lab.spec.space import Dimension, Params, Space
from lab.spec.trial import Trial
from lab.stages.job import folds_in, open_to_cycles, run_aside
from lab.study.progress import Display

if TYPE_CHECKING:
    from torch import Tensor

    from lab.lanes.engine import Engine
    from lab.spec.study import StudySpec
    from lab.stages.predictor import Ensemble
    from lab.tasks.task import Task

_ADVICE = "try other --epochs"
OTHER_OUTPUTS = "predictions have another form than targets here, as those of several kinds; nobody is taught by them"
"""Why what a teacher says can be nobody's target."""


@dataclass(frozen=True)
class Run:
    """A training that completed."""

    params: Params
    weights: Path

    def alone(self, task: Task, temperature: float = 1.0, thresholds: tuple[float, ...] = ()) -> Ensemble:
        """Its net, ready to predict."""
        return together(task, [self], temperature, thresholds)


def together(task: Task, runs: Sequence[Run], temperature: float = 1.0, thresholds: tuple[float, ...] = ()) -> Ensemble:
    """The mean of nets whose weights lie in one folder."""
    from lab.stages.ensemble import Member
    from lab.stages.predictor import Ensemble

    members = [Member(run.weights.name, run.params, 1.0 / len(runs)) for run in runs]
    return Ensemble(task, runs[0].weights.parent, members, temperature, thresholds)


@dataclass(frozen=True)
class Judged:
    """A model with what the validation rows say of it."""

    model: Ensemble
    """Calibrated there."""
    losses: Tensor
    """Those of the rows [n]: negative log-likelihood once calibrated, or the task's own loss of values."""

    @property
    def loss(self) -> float:
        return statistics.fmean(self.losses.tolist())


def judged(task: Task, runs: Sequence[Run]) -> Judged:
    """The mean of nets, calibrated on the validation rows, and its losses there."""
    from lab.stages.predictor import as_plain
    from lab.training.ensemble import fit_temperature, with_temperature
    from lab.training.thresholds import thresholds_of

    x, y = task.data("valid")
    prediction = together(task, runs).predict(x)
    if task.kind == "regression":
        return Judged(together(task, runs), losses_of(task, prediction, y))
    temperature = fit_temperature(prediction, y, task.kind)
    calibrated = with_temperature(prediction, temperature, task.kind)
    thresholds = as_plain(thresholds_of(task, calibrated, y))
    return Judged(together(task, runs, temperature, thresholds), losses_of(task, calibrated, y))


def losses_of(task: Task, prediction: Tensor, y: Tensor) -> Tensor:
    """The losses [n] of what an ensemble predicts, by which models are judged here."""
    from lab.training.ensemble import negative_log_likelihood

    return task.loss(prediction, y) if task.kind == "regression" else negative_log_likelihood(prediction, y)


class Aside:
    """Lanes in this process, opened once for all that is asked.

    Args:
        work: the folder in which it is trained; who is asked alike in it again goes on.
        name: what trains, for messages.
        width: trials that are trained at once.
        epochs: those of each of them, about; by them it is decided how to train.
        more: dimensions that trials have beside the study's.
    """

    def __init__(
        self,
        spec: StudySpec,
        record: Record,
        work: Path,
        display: Display,
        *,
        name: str,
        width: int,
        epochs: int,
        more: Mapping[str, Dimension] | None = None,
        advice: str = _ADVICE,
    ) -> None:
        self._spec, self._record, self._work, self._display = spec, record, work, display
        self._name, self._width, self._epochs, self._more = name, width, epochs, dict(more or {})
        self._advice = advice
        self._lanes: tuple[Engine, StudySpec] | None = None

    def train(
        self, stage: str, task: Task, trials: Sequence[Trial], with_valid: bool = False
    ) -> list[tuple[Trial, Run]]:
        """The trials that completed.

        Args:
            stage: under what they are kept; of one name there is one set of trials.
            with_valid: the task's validation rows are trained on as well.

        Raises:
            StudyError: none completed.
        """
        from lab.lanes.job import make_job
        from lab.stages.from_bounds import space_of

        space = Space({**open_to_cycles(space_of(self._spec, self._record), (1,)), **self._more})
        spec = self._spec.model_copy(
            update={"task": replace(self._spec.task, opened=task, instance=None), "space": space, "storage": None}
        )
        engine, settled = self._open(spec)
        spec = spec.model_copy(update={"execution": settled.execution})
        training = replace(spec.training(), weights=stage, with_valid=with_valid)
        job = make_job(spec, self._record, engine, stage, tuple(trials), space, training)
        if with_valid:  # as in a refit
            job = replace(job, metric="train_loss", direction="minimize")
        trained = run_aside(spec, self._work, engine, job, self._name, self._advice)
        return [(trial, Run(trial.params, file)) for trial, file in trained]

    def _open(self, spec: StudySpec) -> tuple[Engine, StudySpec]:
        """Lanes in this process, timed once: what is trained differs in what teaches it."""
        from lab.lanes.speed.choose import open_lanes

        if self._lanes is None:
            anew = {"engine": "local", "width": self._width}
            anew |= dict.fromkeys(("lanes", "path", "stack", "threads"), "auto")
            steps = self._epochs * self._width
            self._lanes = open_lanes(
                spec.changed(execution=anew),
                self._record,
                self._display.watch,
                lambda line: None,
                None,
                lambda epoch_steps: steps * epoch_steps,
            )
        return self._lanes


def learned_by_folds(spec: StudySpec, task: Task) -> bool:
    """Whether a study's models have learned from all validation rows together: each left out a part of them alone."""
    opened = spec.model_copy(update={"task": replace(spec.task, opened=task, instance=None)})
    return folds_in(opened) is not None
