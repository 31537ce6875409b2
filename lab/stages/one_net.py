"""One trained net in memory, ready to predict."""

from __future__ import annotations

from torch import Tensor, nn

from lab.stages.predictor import model_outputs
from lab.stages.predicts import Predicts
from lab.tasks.task import Task


class OneNet(Predicts):
    """A net as it was trained: no temperature, and labels from a half on."""

    def __init__(self, task: Task, net: nn.Module) -> None:
        super().__init__(task)
        self._net = net

    def _outputs(self, x: Tensor) -> Tensor:
        try:
            return model_outputs(self._task, self._net, x)
        finally:
            self._net.cpu()  # where whoever trained it has left it
