"""The nets that a study hands out as one module, which needs nothing of this package once it is exported.

Shapes: n examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.tasks.task import Task
from lab.training.ensemble import weighted, with_temperature


def narrowed(x: Tensor) -> Tensor:
    """Inputs as a model of float32 takes them: what comes from numpy is wider than it was meant to be."""
    return x.to(torch.float32) if x.dtype == torch.float64 else x


def inputs_for(net: nn.Module, x: Tensor) -> Tensor:
    """Inputs in the type that a net takes: a net of float64 takes them as they are."""
    return x if any(parameter.dtype == torch.float64 for parameter in net.parameters()) else narrowed(x)


def predicted(task: Task, output: Tensor) -> Tensor:
    """What a net's output predicts: probabilities in float64, or plain values."""
    # A temperature divides their logarithms, so unlikely classes must not all have become nothing.
    return task.predict(output if task.kind == "regression" else output.double())


def output_of(task: Task, net: nn.Module, inputs: Tensor) -> Tensor:
    """A net's output for inputs [n, ...] that are made ready, the mean over the views that its task has of them. For
    classes and labels that is the mean of log-probabilities."""
    views = task.views(inputs)
    return net(views[0]) if len(views) == 1 else torch.stack([net(view) for view in views]).mean(dim=0)


class OneModule(nn.Module):
    """From inputs [n, ...], as a task's `data` holds them, to calibrated probabilities or values: the weighted mean of
    several nets.

    Args:
        task: whose `model_input`, `views` and `predict` become part of it.
        nets: as `Task.model` builds them, trained.
        weights: of the nets, together 1.
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
        self._weights, self._temperatures, self._temperature = list(weights), list(temperatures), temperature

    def forward(self, x: Tensor) -> Tensor:
        task = self._task
        inputs = task.model_input(inputs_for(self.nets, x))
        predictions = [
            with_temperature(predicted(task, output_of(task, net, inputs)), temperature, task.kind)
            for net, temperature in zip(self.nets, self._temperatures, strict=True)
        ]
        mean = weighted(torch.stack(predictions), self._weights)
        calibrated = with_temperature(mean, self._temperature, task.kind)
        outward = task.outward(calibrated)
        return outward.float() if task.kind != "regression" else outward
