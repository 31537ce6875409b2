"""A task whose model learns from other training data than its own, and is validated on its own.

Shapes: n examples, c classes, labels or values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.task import Data, Metric, Split, Task


class OtherData(Task):
    """A student's task on other training data of the same form.

    Args:
        student: whose model is trained, as it says it is.
        train: inputs [n, ...] and targets [n, ...].
        valid: inputs and given targets to validate on.
    """

    def __init__(self, student: Task, train: Data, valid: Data) -> None:
        self._student = student
        self.kind, self.metric, self.direction = student.kind, student.metric, student.direction
        self.metrics = student.metrics
        self._data = {"train": train, "valid": valid}

    def data(self, split: Split) -> Data:
        if split == "test":
            raise TaskError("a student is scored on the test split when it has been trained")
        return self._data[split]

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self._student.model(params)

    def groups(self, model: nn.Module) -> Sequence[Sequence[str]]:
        return self._student.groups(model)

    def model_input(self, x: Tensor) -> Tensor:
        return self._student.model_input(x)

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> NDArray[np.float32] | None:
        return self._student.draw(examples, random, params)

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        return self._student.augment(x, y, draws)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self._student.loss(output, target)

    def predict(self, output: Tensor) -> Tensor:
        return self._student.predict(output)


class OtherTargets(OtherData):
    """The same with targets that are numbers: probabilities of classes or labels, or values, [n, c]. The student's
    `loss` and `augment` must take these; see `Task.soft_targets`.

    Args:
        train: inputs [n, ...] and such targets.
        valid: inputs and given targets, as the student's task has them: classes [n], labels [n, c] or values [n, ...].
        width: how many numbers a target has, c.
    """

    def __init__(self, student: Task, train: Data, valid: Data, width: int) -> None:
        super().__init__(student, train, valid)
        self.kind = "regression"  # targets are values of a loss and metrics of its own, whatever the student's are of
        self._shape = tuple(valid[1].shape[1:])
        self.metrics = {name: self._on_plain(metric) for name, metric in student.metrics.items()}
        self._data["valid"] = valid[0], self._numbers(valid[1], width)

    def _numbers(self, y: Tensor, width: int) -> Tensor:
        """Given targets as those that are trained on."""
        if self._student.kind == "classification":
            return nn.functional.one_hot(y, width).float()
        return y.reshape(len(y), -1).float()

    def _plain(self, target: Tensor) -> Tensor:
        """Targets [n, c] as the student's task has them."""
        return target.argmax(dim=1) if self._student.kind == "classification" else target.reshape(-1, *self._shape)

    def _on_plain(self, metric: Metric) -> Metric:
        return lambda output, target: metric(output, self._plain(target))
