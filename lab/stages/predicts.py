"""The face of what has learned a task and predicts: inputs as a user has them, predictions as a user reads them.

Shapes: n inputs, c classes or labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lab.errors import StudyError, TaskError
from lab.stages.prediction_table import prediction_table, readable
from lab.tasks.beside import Beside
from lab.tasks.checks import tried
from lab.tasks.several import as_one
from lab.tasks.several_targets import SEVERAL, several_of
from lab.tasks.table.from_frame import is_frame
from lab.tasks.task import Data, Given, Kind, Task
from lab.training.ensemble import scores


def _is_raw(x: Any) -> bool:
    """Whether inputs are as Python has them, rather than numbers that are made ready."""
    if isinstance(x, (Tensor, np.ndarray)):
        return False
    first = x[0] if isinstance(x, (list, tuple)) and x else x
    return is_frame(x) or isinstance(first, (str, Path)) or hasattr(first, "getbands")  # as Pillow's images have


def as_thresholds(thresholds: Sequence[float], prediction: Tensor) -> Tensor | None:
    """The thresholds of labels [c] that an artefact holds, for a prediction [n, c]; None where it holds none."""
    return prediction.new_tensor(thresholds) if thresholds else None


class Predicts(ABC):
    """What predicts for a task: one net, or several as one.

    Args:
        task: what was learned, with what it has learned from the data.
        thresholds: from which probability on each label is said; none: from a half on.
    """

    def __init__(self, task: Task, thresholds: tuple[float, ...] = ()) -> None:
        self._task, self._thresholds = task, thresholds

    @abstractmethod
    def _outputs(self, x: Tensor) -> Tensor:
        """Predictions for inputs [n, ...] that are made ready: probabilities, or values."""

    @property
    def task(self) -> Task:
        return self._task

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._task.class_names

    @property
    def kind(self) -> Kind:
        return self._task.kind

    @property
    def kinds(self) -> Mapping[str, str]:
        """The kind of each of several targets that differ in it, by the target's name; none: all are of `kind`."""
        several = several_of(self._task)
        return {} if several is None else {name: part.kind for name, part in several.parts.items()}

    @property
    def kind_or_several(self) -> str:
        """The kind, as other programs are told it: `several` where targets differ in it."""
        return SEVERAL if self.kinds else self.kind

    @property
    def thresholds(self) -> tuple[float, ...]:
        """From which probability on each label is said; none: from a half on."""
        return self._thresholds

    def prepare(self, raw: Any) -> Tensor:
        """Raw inputs [n, ...] made ready for `predict`, as the task says."""
        return tried(f"{type(self._task).__name__}.prepare", lambda: self._task.prepare(raw))

    def read(self, path: str | Path) -> Given:
        """Inputs to predict for, from a user's file, as the task says."""
        return tried(f"{path}: {type(self._task).__name__}.read", lambda: self._task.read(Path(path)))

    def readable(self, prediction: Tensor, target: Tensor | None) -> Mapping[str, Tensor | Sequence[str]]:
        """Values [n] by their names that a user reads instead of a prediction of `predict`; none: it is read itself."""
        return tried(f"{type(self._task).__name__}.readable", lambda: self._task.readable(prediction, target))

    def scores(self, prediction: Tensor, y: Tensor, beside: Beside | None = None) -> dict[str, float]:
        """The task's metrics of a prediction of `predict`, as the report has them.

        Args:
            beside: a score that cannot be had is NaN, and is told there; without it, its error is raised.
        """
        thresholds = as_thresholds(self.thresholds, prediction)
        return scores(prediction, y, self.kind, self._task.metrics, thresholds, beside)

    def fitted(self) -> Mapping[str, Any] | None:
        """What inputs are made ready by, as the task keeps it."""
        return self._task.fitted()

    @property
    def recipe(self) -> str:
        """How inputs are made of raw ones in plain Python, as the task says it."""
        return self._task.recipe

    def test_data(self) -> Data:
        """Inputs and targets of the test split."""
        return tried(f"{type(self._task).__name__}.data('test')", lambda: self._task.data("test"))

    def accept(self, raw: Any) -> Given:
        """Inputs to predict for, as Python has them: a pandas frame, texts, images or paths, as the task says."""
        return tried(f"{type(self._task).__name__}.accept", lambda: self._task.accept(raw))

    def predict(self, x: Any) -> Any:
        """Predictions for a pandas frame, a list of texts, of Pillow's images or of paths; or for tensors.

        Returns:
            For these a pandas frame with a row for each, as `lab predict` writes it: the class, or the labels, and the
            probability `p_...` of each; or the values. It has the index of the frame that was given, but where items
            are ranked. For inputs [n, ...] prepared as the task's `data` prepares them a tensor: calibrated
            probabilities [n, c] for classification, values otherwise.

        Raises:
            TaskError: they are not what the task learned from.
            SpecError: each part of an input has a class, for which a row is no good form; `predict_proba` has all.
        """
        if not _is_raw(x):
            return self._predicted(x)
        inputs = self.accept(x)
        table = prediction_table(*readable(self._predicted(inputs.x), self, inputs), self, inputs)
        if is_frame(x) and len(table) == len(x) and not inputs.ranked_within:
            table.index = x.index
        return table

    def predict_proba(self, x: Any) -> NDArray[np.float32]:
        """The probabilities [n, c] of the classes or labels in the order of `class_names`, for what `predict` takes.

        Raises:
            StudyError: values are predicted, which have none.
        """
        if self.kind == "regression":
            raise StudyError("values are predicted here, not classes; they have no probabilities")
        return self._predicted(self.accept(x).x if _is_raw(x) else x).numpy()

    def _predicted(self, x: Any) -> Tensor:
        inputs = tried(f"{type(self._task).__name__}.data", lambda: as_one(self._task, x, "predict"))
        if not len(inputs):
            raise TaskError("there are no inputs to predict for")
        prediction = self._outputs(inputs)
        return prediction.float() if self.kind != "regression" else prediction
