"""The nets that a study hands out as one module, which needs nothing of this package once it is exported.

Shapes: n examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.tasks.task import Task
from lab.training.ensemble import with_temperature


class OneModule(nn.Module):
    """From inputs [n, ...], as a task's `data` holds them, to calibrated probabilities or values: the weighted mean of
    several nets.

    Args:
        task: whose `model_input` and `predict` become part of it.
        nets: as `Task.model` builds them, trained.
        weights: of the nets, of any sum.
        temperatures: of each net's own predictions.
        temperature: of their mean.
    """

    def __init__(
        self,
        task: Task,
        nets: Sequence[nn.Module],
        weights: Sequence[float],
        temperatures: Sequence[float],
        temperature: float,
    ) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self._task = task
        self._weights = [weight / sum(weights) for weight in weights]
        self._temperatures, self._temperature = list(temperatures), temperature

    def forward(self, x: Tensor) -> Tensor:
        task = self._task
        inputs = task.model_input(x)
        mean: Tensor | None = None
        for net, weight, temperature in zip(self.nets, self._weights, self._temperatures, strict=True):
            output = net(inputs)
            # In float64, as in `lab.stages.predictor`: unlikely classes must not all become nothing.
            prediction = task.predict(output if task.kind == "regression" else output.double())
            part = weight * with_temperature(prediction, temperature, task.kind)
            mean = part if mean is None else mean + part
        assert mean is not None  # there is a net at least
        calibrated = with_temperature(mean, self._temperature, task.kind)
        return calibrated.to(torch.float32) if task.kind != "regression" else calibrated
