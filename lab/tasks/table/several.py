"""The columns of several targets of different kinds, as `Targets`; what values cost, and how they are scored.

Shapes: n examples, t targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.errors import SpecError
from lab.tasks.metrics import pinball_each
from lab.tasks.scored import check_defined, quantile_of, score_of
from lab.tasks.several_targets import Classes, Part, Targets, Values
from lab.tasks.table.target import Target
from lab.tasks.targeted import Targeted


def targets_of(target: Target, options: Targeted) -> Targets:
    """The targets with what a spec says of them: their weights, and which of them trials are compared by, and how.

    Raises:
        SpecError: the primary target has no such metric, or it is one of the user's own.
    """
    primary = options.primary or target.names[0]
    parts: dict[str, Part] = {}
    for part in target.parts:
        name = part.names[0]
        metric = options.metric if name == primary else None
        if metric is not None and score_of(options, part.kind).file is not None:
            raise SpecError("task.metric", f"{metric}: of targets of different kinds it is one that comes with lab")
        if part.kind == "classification":
            parts[name] = Classes(part.levels, metric)
        else:
            parts[name] = Values(part.std[0], metric)
    return Targets(parts, dict(options.target_weights), primary)


def check_several(target: Target, options: Targeted, targets: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Refuse what a spec says of other targets, and a metric that says nothing of some split; the names of all metrics.

    Args:
        targets: of each split, as `Target.values` has them.

    Raises:
        SpecError: with the reason.
    """
    metrics = tuple(targets_of(target, options).metrics)
    at = target.names.index(options.primary or target.names[0])
    part = target.parts[at]
    classes = part.kind == "classification"
    own = {split: y[:, at].astype(np.int64) if classes else y[:, [at]] for split, y in targets.items()}
    check_defined(options, part.kind, own)
    return metrics


def value_loss(output: Tensor, target: Tensor, std: tuple[float, ...], metric: str) -> Tensor:
    """The squared error [n] of values [n, t] in standard deviations of each, or the absolute one or the quantile loss
    where the metric is that: a mean is no quantile."""
    over = (output - target) / torch.tensor(std, device=output.device)
    quantile = quantile_of(metric)
    if quantile is not None:
        return pinball_each(over, quantile).mean(dim=1)
    return (over.abs() if metric == "mae" else over.pow(2)).mean(dim=1)
