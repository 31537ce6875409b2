"""A task whose training targets are what a teacher predicts (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).

Shapes: n examples, c classes, labels or values, k slots, b examples of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.tasks.other_data import OtherTargets
from lab.tasks.task import Data, Task

TEMPERATURE = "temperature"
"""The hyperparameter by which a trial says how soft its targets are."""
_LEAST = 1e-7


class Distilled(OtherTargets):
    """A student's task with other training data.

    Targets are probabilities or values [n, c] and behind them, [n, 1], the temperature by which outputs and targets are
    divided: 0 where they are what was given, and not said by a teacher.

    Args:
        student: whose model is trained; its targets are classes [n], labels [n, c] or values [n, ...].
        taught: inputs [n, ...] and what the teacher predicts of them [n, c]: probabilities, or values.
        valid: inputs and given targets to validate on.
    """

    def __init__(self, student: Task, taught: Data, valid: Data) -> None:
        said = taught[1].reshape(len(taught[1]), -1).float()
        super().__init__(student, (taught[0], torch.cat([said, torch.ones(len(said), 1)], dim=1)), valid, said.shape[1])

    def _numbers(self, y: Tensor, width: int) -> Tensor:
        return torch.cat([super()._numbers(y, width), torch.zeros(len(y), 1)], dim=1)

    def _plain(self, target: Tensor) -> Tensor:
        return super()._plain(target[:, :-1])

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """The trial's temperature, [b, 1]; nothing is drawn at random."""
        return np.full((examples, 1), float(params.get(TEMPERATURE, 1.0)), dtype=np.float32)

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        return x, torch.cat([y[..., :-1], draws], dim=-1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The student's own loss where the targets are labels, or values. Else the cross entropy of student and teacher
        at the temperature, times its square, so that gradients stay as large (Hinton et al., section 2)."""
        values, temperature = target[:, :-1], target[:, -1]
        if self._student.kind == "regression":
            return self._student.loss(output, self._plain(target))
        plain = temperature == 0
        divided = torch.where(plain, 1.0, temperature)[:, None]
        if self._student.kind == "classification":
            said = torch.where(plain[:, None], values, (values.clamp_min(_LEAST).log() / divided).softmax(dim=1))
            losses = -(said * (output / divided).log_softmax(dim=1)).sum(dim=1)
        else:
            softened = (values.clamp(_LEAST, 1 - _LEAST).logit() / divided).sigmoid()
            said = torch.where(plain[:, None], values, softened)
            losses = nn.functional.binary_cross_entropy_with_logits(output / divided, said, reduction="none").mean(1)
        return losses * divided[:, 0] ** 2
