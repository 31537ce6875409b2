"""Digits with a fifth of the training labels wrong: a task on which short trainings say little about long ones."""

from __future__ import annotations

import numpy as np
import torch

from lab.tasks.digits import Digits
from lab.tasks.task import Data, Split

_WRONG = 0.2


class NoisyDigits(Digits):
    """Validation and test labels are right."""

    def data(self, split: Split) -> Data:
        x, y = super().data(split)
        if split != "train":
            return x, y
        random = np.random.default_rng(0)
        wrong = torch.from_numpy(random.random(len(y)) < _WRONG)
        other = (y + torch.from_numpy(random.integers(1, 10, len(y)))) % 10
        return x, torch.where(wrong, other, y)
