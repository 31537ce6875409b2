"""Metrics by name: functions of a whole split's outputs and targets.

Shapes: n examples, c classes or labels, t values. Outputs are logits [n, c] or values [n, t].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lab.errors import SpecError, nearest
from lab.tasks.scored import Score, quantile_of
from lab.tasks.task import Kind, Metric, accuracy, micro_f1, rmse
from lab.tasks.user_code import import_file

THRESHOLDS = (*torch.logspace(-3, -0.3, 24, dtype=torch.float64).tolist(), 0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities from which on a label may be said; of rare labels even the likeliest are far below a half."""


@dataclass(frozen=True)
class Decided:
    """A metric of labels that are said or not, [n, c]. Called, it is the score at the common threshold that suits these
    examples best: at a half it would reward whatever is surest, and a net that has learned little of rare labels most.
    """

    at_half: Metric
    """The score where labels are said from a probability of a half on."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.stack([self.at_half(output - logit(p), target) for p in THRESHOLDS]).max()


def logit(p: float) -> float:
    return float(torch.tensor(p, dtype=torch.float64).logit())


def balanced_accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes that the targets [n] have of the share that is got right."""
    classes = output.shape[1]
    hits = torch.bincount(target[output.argmax(dim=1) == target], minlength=classes)
    counts = torch.bincount(target, minlength=classes)
    mean: Tensor = (hits / counts.clamp_min(1)).sum() / (counts > 0).sum()
    return mean


def macro_f1(output: Tensor, target: Tensor) -> Tensor:
    """Mean of the F1 of every class that is there or is said."""
    classes, said, target = output.shape[1], output.argmax(dim=1).flatten(), target.flatten()
    hits = torch.bincount(target[said == target], minlength=classes)
    total = torch.bincount(said, minlength=classes) + torch.bincount(target, minlength=classes)
    return _mean_f1(hits, total)


def label_macro_f1(output: Tensor, target: Tensor) -> Tensor:
    """Mean of the F1 of every label that is there or is said, at a probability of a half."""
    predicted, true = output > 0, target > 0.5
    hits = (predicted & true).sum(dim=0)
    total = predicted.sum(dim=0) + true.sum(dim=0)
    return _mean_f1(hits, total)


def _mean_f1(hits: Tensor, total: Tensor) -> Tensor:
    """Mean over classes of F1, from each one's hits [c] and how often it is said plus true [c]; a class that is neither
    does not count."""
    return (2 * hits / total.clamp_min(1)).sum() / (total > 0).sum().clamp_min(1)


def auc(output: Tensor, target: Tensor) -> Tensor:
    """Mean area under the ROC curve of each class against the others, or of each label, where it varies."""
    if target.ndim == 1:
        columns = [1] if output.shape[1] == 2 else torch.unique(target).tolist()
        logs = output.log_softmax(dim=1) if output.shape[1] > 2 else output - output[:, :1]
        pairs = [(logs[:, k], target == k) for k in columns]
    else:
        pairs = [(output[:, k], target[:, k] > 0.5) for k in range(output.shape[1])]
    areas = torch.stack([_area(score, true) for score, true in pairs])
    return areas.nanmean()


def _area(score: Tensor, true: Tensor) -> Tensor:
    """Mann and Whitney's statistic: how often a true one [n] scores higher than another; a tie counts half."""
    _, level, counts = torch.unique(score, return_inverse=True, return_counts=True)
    rank = (counts.cumsum(0) - (counts - 1) / 2).double()[level]
    positive = true.sum()
    negative = len(true) - positive
    above: Tensor = rank[true].sum() - positive * (positive + 1) / 2
    return above / (positive * negative)  # 0 / 0 where it does not vary


def log_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean of -log p of the class, or of each label."""
    if target.ndim == 1:
        return nn.functional.cross_entropy(output, target)
    return nn.functional.binary_cross_entropy_with_logits(output, target.to(output.dtype))


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over all examples and values."""
    return (output - target).abs().mean()


def mape(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error as a share of the target."""
    return ((output - target) / target).abs().mean()


def r2(output: Tensor, target: Tensor) -> Tensor:
    """Mean over values of the explained share of the variance."""
    left = (output - target).pow(2).sum(dim=0)
    return (1 - left / (target - target.mean(dim=0)).pow(2).sum(dim=0)).mean()


def pinball(output: Tensor, target: Tensor, quantile: float) -> Tensor:
    """Mean quantile loss, which the quantile makes least (Koenker and Bassett 1978)."""
    return pinball_each(output - target, quantile).mean()


def pinball_each(over: Tensor, quantile: float) -> Tensor:
    """The quantile loss of each value, by how much it is predicted too high."""
    return torch.maximum((1 - quantile) * over, -quantile * over)


_BY_NAME: Mapping[str, Mapping[str, Metric]] = {
    "classification": {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": macro_f1,
        "auc": auc,
        "log_loss": log_loss,
    },
    "multilabel": {
        "micro_f1": Decided(micro_f1),
        "macro_f1": Decided(label_macro_f1),
        "auc": auc,
        "log_loss": log_loss,
    },
    "regression": {"rmse": rmse, "mae": mae, "mape": mape, "r2": r2},
}


def metrics_of(score: Score, default: Score, kind: Kind, at_half: bool = False) -> dict[str, Metric]:
    """The metric that is asked for, and that of the kind beside it.

    Args:
        at_half: labels are said from a probability of a half on, as an earlier version did.

    Raises:
        SpecError: a metric of one's own that is not there.
    """
    named = {wanted.metric: _metric(wanted, kind) for wanted in (score, default)}
    return {
        name: metric.at_half if at_half and isinstance(metric, Decided) else metric for name, metric in named.items()
    }


def _metric(score: Score, kind: Kind) -> Metric:
    if score.file is not None:
        return own_metric(score.file, score.metric)
    quantile = quantile_of(score.metric)
    return _BY_NAME[kind][score.metric] if quantile is None else partial(pinball, quantile=quantile)


def own_metric(file: Path, name: str) -> Metric:
    """A user's function.

    Raises:
        SpecError: there is no such file, or it has no such function.
        TaskError: the file does not import.
    """
    if not file.is_file():
        raise SpecError("task.metric", f"the file {file} does not exist")
    module = import_file(file)
    function = getattr(module, name, None)
    if not callable(function):
        raise SpecError("task.metric", f"{file}: has no function {name!r}{nearest(name, vars(module))}")
    metric: Callable[[Tensor, Tensor], Tensor] = function
    return metric
