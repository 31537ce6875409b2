"""A finished study's ensemble, ready to predict: weights read from the study folder, averaged, calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lab.errors import RecordError, TaskError
from lab.record.folder import Record
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.stages import ensemble
from lab.stages.stage import Skipped
from lab.tasks.build import build_model
from lab.tasks.checks import tried
from lab.tasks.load import load_task
from lab.tasks.task import Given, Kind, Task
from lab.training.ensemble import scores, weighted, with_temperature
from lab.training.snapshots import load_weights

_BATCH = 1024


@torch.no_grad()
def member_outputs(task: Task, weights: Path, params: Params, x: Tensor) -> Tensor:
    """What a snapshot predicts for inputs [n, ...]: probabilities [n, c], or plain values.

    Args:
        weights: its file.
        params: the hyperparameters that its model is built from.
    """
    model = build_model(task, params, 0, task.model_input(_narrow(x[:1])))
    load_weights(model, weights)
    model.eval()
    if all(p.dtype != torch.float64 for p in model.parameters()):
        x = _narrow(x)
    batches = (task.model_input(x[i : i + _BATCH]) for i in range(0, len(x), _BATCH))
    return task.predict(torch.cat([_call(model, batch) for batch in batches]))


def _narrow(x: Tensor) -> Tensor:
    """Inputs as a model of float32 takes them: what comes from numpy is wider than it was meant to be."""
    return x.to(torch.float32) if x.dtype == torch.float64 else x


def _call(model: nn.Module, x: Tensor) -> Tensor:
    try:
        output = model(x)
    except RuntimeError as error:
        message = str(error).splitlines()[0]
        raise TaskError(f"the model does not take inputs of shape {tuple(x.shape)}: {message}") from error
    assert isinstance(output, Tensor)  # part of the task contract
    return output


class Ensemble:
    """The members that the study chose, with their weights and temperatures."""

    def __init__(self, spec: StudySpec, record: Record) -> None:
        artefact = ensemble.STAGE.complete(record)
        if isinstance(artefact, Skipped):
            raise RecordError(f"{record.folder}: this study has no ensemble: {artefact.skipped}")
        task = load_task(spec.task)
        assert isinstance(task, Task)  # a trial function's study has skipped its ensemble
        kept = record.task()
        if kept is not None and kept["fitted"] is not None:
            task.restore(kept["fitted"])
        self._task = task
        self._folder = record.final_folder
        self._chosen = artefact.chosen

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._task.class_names

    @property
    def kind(self) -> Kind:
        return self._task.kind

    @property
    def thresholds(self) -> tuple[float, ...]:
        """From which probability on each label is said; none: from a half on."""
        return self._chosen.thresholds

    def prepare(self, raw: Any) -> Tensor:
        """Raw inputs [n, ...] made ready for `predict`, as the task says."""
        return tried(f"{type(self._task).__name__}.prepare", lambda: self._task.prepare(raw))

    def read(self, path: Path) -> Given:
        """Inputs to predict for, from a user's file, as the task says."""
        return tried(f"{path}: {type(self._task).__name__}.read", lambda: self._task.read(path))

    def scores(self, prediction: Tensor, y: Tensor) -> dict[str, float]:
        """The task's metrics of a prediction of `predict`, as the report has them."""
        thresholds = torch.tensor(self.thresholds) if self.thresholds else None
        return scores(prediction, y, self.kind, self._task.metrics, thresholds)

    def predict(self, x: Any) -> Tensor:
        """Predictions for inputs [n, ...], prepared as the task's `data` prepares them.

        Returns:
            Calibrated probabilities [n, c] for classification, values otherwise.
        """
        inputs = torch.as_tensor(x)
        if not len(inputs):
            raise TaskError("there are no inputs to predict for")
        outputs = []
        for member in self._chosen.members:
            output = member_outputs(self._task, self._folder / member.file, member.params, inputs)
            outputs.append(with_temperature(output, member.temperature, self.kind))
        mean = weighted(torch.stack(outputs), [member.weight for member in self._chosen.members])
        return with_temperature(mean, self._chosen.temperature, self.kind)
