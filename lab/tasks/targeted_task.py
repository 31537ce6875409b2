"""A task whose target may be classes, labels or values, or several targets of different kinds.

Shapes: k slots, b examples of a batch, t targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.tasks.balance import emphasis, emphasised
from lab.tasks.scored_task import ScoredTask
from lab.tasks.several_targets import Targets
from lab.tasks.table.several import targets_of, value_loss
from lab.tasks.table.target import Target


class TargetedTask(ScoredTask):
    """Its options are `Targeted` and `Balanced`."""

    _targets: Targets | None = None

    @property
    def _target(self) -> Target | None:
        """What is predicted; None where its classes are known in another way."""
        raise NotImplementedError

    @property
    def _several(self) -> Targets | None:
        target = self._target
        if target is None or not target.parts:
            return None
        if self._targets is None:
            self._targets = targets_of(target, self._options)
        return self._targets

    def _counts(self, params: Mapping[str, Any], examples: int) -> NDArray[np.float32] | None:
        """How much a trial's examples count [b, 1 or 2], or how much each of several targets does [b, t]; nothing is
        drawn at random."""
        counts = emphasis(self, params, self._options, examples)  # refused beside values
        several = self._several
        if several is None:
            return counts
        return several.counts(float(params.get("primary_weight", self._options.primary_weight)), examples)

    def _counted(self, y: Tensor, counts: Tensor) -> Tensor:
        """Targets [k, b, ...] that say how much they count, by what `_counts` gave; as they are where it gave none."""
        if not counts.shape[-1]:
            return y
        return emphasised(y, counts, self._shares) if self._several is None else torch.cat([y, counts], dim=-1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """As in `Task`; of values the squared error in standard deviations of each target, [n], or the absolute one or
        the quantile loss where the metric is that: a mean is no quantile."""
        if self.kind != "regression":
            return super().loss(output, target)
        several, learned = self._several, self._target
        if several is not None:
            return several.loss(output, target)
        assert learned is not None  # what else is known has classes
        return value_loss(output, target, learned.std, self.metric)

    @property
    def plain_loss(self) -> bool:
        return getattr(self.loss, "__func__", None) is TargetedTask.loss and self.kind != "regression"
