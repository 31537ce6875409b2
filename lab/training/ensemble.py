"""Ensembles of trained members: greedy selection, temperature scaling, and the scores they are judged by.

Shapes: m members, n examples, c classes. What members predict is probabilities [n, c], or plain values [n, ...].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import logsigmoid
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from lab.tasks.metrics import Decided
from lab.tasks.task import Kind, Metric

Loss: TypeAlias = Callable[[Tensor], float]
"""The loss of an ensemble's prediction [n, ...] on the validation split; less is better."""

_TEMPERATURES = (0.1, 10.0)
_LEAST = 1e-12
_LEAST_COMPLEMENT = 2.0**-23
"""1 - p of a label is no finer than this: about as close to 1 as numbers of float32 come, and exact in it."""


def to_output(prediction: Tensor, kind: Kind) -> Tensor:
    """What a model would have to give for this prediction: log-probabilities, logits [n, c], or the values."""
    if kind == "classification":
        return prediction.clamp_min(_LEAST).log()
    return prediction.clamp(_LEAST, 1 - _LEAST_COMPLEMENT).logit() if kind == "multilabel" else prediction


def with_temperature(probabilities: Tensor, temperature: float, kind: Kind = "classification") -> Tensor:
    """Probabilities [n, c] of logits divided by a temperature; plain values stay as they are."""
    if kind == "regression":
        return probabilities
    logits = to_output(probabilities, kind) / temperature
    return logits.softmax(dim=1) if kind == "classification" else logits.sigmoid()


def negative_log_likelihood(probabilities: Tensor, target: Tensor) -> float:
    """Mean of -log p(target): probabilities [n, c] of classes [n], or of labels [n, c] (mean over labels too)."""
    if target.ndim == 2:
        p = probabilities.clamp(_LEAST, 1 - _LEAST_COMPLEMENT)
        return float(-torch.where(target > 0.5, p, 1 - p).log().mean())
    return float(-probabilities.gather(1, target[:, None]).clamp_min(_LEAST).log().mean())


def fit_temperature(probabilities: Tensor, target: Tensor, kind: Kind = "classification") -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599); 1 for values.

    Of n examples the likelihood is that of targets which are not quite sure, as Platt (1999, section 2.2) softens them:
    where none was got wrong the plain one grows for ever with the sharpness, and n right ones are no proof that none is
    wrong. The doubt is half an example in n + 1 (Krichevsky and Trofimov 1981), not Platt's whole one in n + 2, which
    cost more where there are mistakes to learn from.

    Found in float64: in float32 the likelihood is level over a thousandth of the temperature around its least, and the
    last digit of a sum would decide where in it.
    """
    if kind == "regression":
        return 1.0
    outputs = to_output(probabilities.double(), kind)
    doubt = 0.5 / (len(target) + 1)

    def nll(log_t: float) -> float:
        z = outputs / float(np.exp(log_t))
        if kind == "multilabel":
            right, wrong = logsigmoid(torch.where(target > 0.5, z, -z)), logsigmoid(torch.where(target > 0.5, -z, z))
        else:
            logs = z.log_softmax(dim=1)
            right = logs.gather(1, target[:, None])
            wrong = (logs.sum(dim=1, keepdim=True) - right) / (logs.shape[1] - 1)
        return float(-((1 - doubt) * right + doubt * wrong).mean())

    low, high = (float(np.log(t)) for t in _TEMPERATURES)
    return float(np.exp(minimize_scalar(nll, bounds=(low, high), method="bounded").x))


@dataclass(frozen=True)
class Selection:
    """Members with how often each was taken; what it scored, and the best single member's score."""

    counts: tuple[int, ...]
    loss: float
    single: int
    single_loss: float

    @property
    def weights(self) -> tuple[float, ...]:
        total = sum(self.counts)
        return tuple(c / total for c in self.counts)


def greedy(members: Tensor, loss: Loss, rounds: int = 30) -> Selection:
    """Greedy selection with replacement (Caruana et al. 2004): add whichever member helps the average most.

    Falls back to the single best member where no average beats it.

    Args:
        members: predictions on the validation split [m, n, ...].
    """
    alone = _losses(loss, members)
    single = int(np.argmin(alone))
    counts = np.zeros(len(members), dtype=np.int64)
    counts[single] = 1
    best, best_counts = alone[single], counts.copy()
    total = members[single].clone()
    for taken in range(1, rounds):
        losses = _losses(loss, (total + members) / (taken + 1))
        pick = int(np.argmin(losses))
        counts[pick] += 1
        total += members[pick]
        if losses[pick] < best - 1e-9:
            best, best_counts = losses[pick], counts.copy()
    return Selection(tuple(int(c) for c in best_counts), best, single, alone[single])


def _losses(loss: Loss, predictions: Tensor) -> list[float]:
    """The loss of each; one that is no number is the worst there is."""
    return [math.inf if math.isnan(value) else value for value in map(loss, predictions)]


def weighted(members: Tensor, weights: Sequence[float]) -> Tensor:
    """Weighted mean [n, ...] of members' predictions [m, n, ...]."""
    w = torch.tensor(weights, dtype=members.dtype).view(-1, *[1] * (members.ndim - 1))
    return (members * w).sum(dim=0)


def scores(
    prediction: Tensor,
    target: Tensor,
    kind: Kind,
    metrics: Mapping[str, Metric],
    thresholds: Tensor | None = None,
) -> dict[str, float]:
    """A task's metrics of a prediction; for probabilities also negative log-likelihood and calibration error.

    The calibration error is the expected one over 15 equal-width bins (L1), as torchmetrics computes it; labels of
    one example count as predictions of their own.

    Args:
        thresholds: from which probability on each label is said [c], fitted on other examples; None: from a half on.
    """
    output = to_output(prediction, kind)
    decided = output if thresholds is None else output - thresholds.to(output.dtype).logit()
    scores = {
        name: float(metric.at_half(decided, target) if isinstance(metric, Decided) else metric(output, target))
        for name, metric in metrics.items()
    }
    if kind == "regression":
        return scores
    scores["nll"] = negative_log_likelihood(prediction, target)
    if kind == "classification":
        error = multiclass_calibration_error(prediction, target, num_classes=prediction.shape[1], n_bins=15)
    else:
        error = binary_calibration_error(prediction.flatten(), target.flatten().long(), n_bins=15)
    return scores | {"calibration_error": float(error)}
