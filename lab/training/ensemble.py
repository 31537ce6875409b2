"""Ensembles of trained members: a choice that proves itself, temperature scaling, and the scores they are judged by.

Shapes: m members, n examples, c classes. What members predict is probabilities [n, c], or plain values [n, ...]. Where
each part of an example has a class or labels, there is more behind [n] or [n, c]: an example is the mean of its parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import scipy
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lab.tasks.beside import Beside
from lab.tasks.metrics import Decided
from lab.tasks.task import Kind, Metric

Loss: TypeAlias = Callable[[Tensor], Tensor]
"""The losses [n] of an ensemble's prediction [n, ...] on the validation split; less is better."""

_TEMPERATURES = (0.1, 10.0)
_FOLDS = 5
_BINS = 15
_LEAST = 1e-300
"""A probability is no smaller than this. Predictions are averaged in float64, where a temperature still tells unlikely
classes apart that are all nothing in float32."""
_LEAST_COMPLEMENT = 2.0**-52
"""1 - p of a label is no finer than this: about as close to 1 as numbers of float64 come, and exact in it."""


def to_output(prediction: Tensor, kind: Kind) -> Tensor:
    """What a model would have to give for this prediction: log-probabilities, logits [n, c] in float64, or the
    values."""
    if kind == "classification":
        return prediction.double().clamp_min(_LEAST).log()
    return prediction.double().clamp(_LEAST, 1 - _LEAST_COMPLEMENT).logit() if kind == "multilabel" else prediction


def with_temperature(probabilities: Tensor, temperature: float, kind: Kind = "classification") -> Tensor:
    """Probabilities [n, c] of logits divided by a temperature; plain values stay as they are."""
    if kind == "regression":
        return probabilities
    logits = to_output(probabilities, kind) / temperature
    return logits.softmax(dim=1) if kind == "classification" else logits.sigmoid()


def negative_log_likelihood(probabilities: Tensor, target: Tensor) -> Tensor:
    """-log p(target) of each example [n]: probabilities [n, c, ...] of classes [n, ...], or of labels [n, ...], their
    mean."""
    p = probabilities.double()
    if p.shape == target.shape:
        p = p.clamp(_LEAST, 1 - _LEAST_COMPLEMENT)
        return of_examples(-torch.where(target > 0.5, p, 1 - p).log())
    return of_examples(-p.gather(1, target[:, None])[:, 0].clamp_min(_LEAST).log())


def of_examples(values: Tensor) -> Tensor:
    """The mean of each example's parts [n, ...], [n]."""
    return values if values.ndim == 1 else values.flatten(1).mean(dim=1)


def fit_temperature(probabilities: Tensor, target: Tensor, kind: Kind = "classification") -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599); 1 for values.

    The likelihood of n examples is that of targets which are not quite sure, as Platt (1999, section 2.2) softens them:
    where none was got wrong the plain one grows for ever with the sharpness, and n right ones are no proof that none is
    wrong. The doubt is half an example in n + 1 (Krichevsky and Trofimov 1981), not Platt's whole one in n + 2, which
    cost more where there are mistakes to learn from.

    Found in float64: in float32 the likelihood is level over a thousandth of the temperature around its least, and the
    last digit of a sum would decide where in it.
    """
    if kind == "regression":
        return 1.0
    outputs = to_output(probabilities, kind)
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
    return float(np.exp(scipy.optimize.minimize_scalar(nll, bounds=(low, high), method="bounded").x))


@dataclass(frozen=True)
class Selection:
    """How often each member counts in the average, and the validation loss of that and of the first member alone."""

    counts: tuple[int, ...]
    loss: float
    start_loss: float

    @property
    def weights(self) -> tuple[float, ...]:
        total = sum(self.counts)
        return tuple(c / total for c in self.counts)


def gated(members: Tensor, count: int, loss: Loss, rounds: int = 30) -> Selection:
    """Begin with the first member, and add one more only where that surely helps.

    A step adds, with replacement, the member that lowers the loss of the average most (Caruana et al. 2004). It is
    taken only if its gain exceeds the gain's standard error, and the gain is that on examples which had no say in
    which member it is: of each fifth of them, the member is chosen by the other four. Without such a gate the choice
    fits a few hundred examples, and loses to the plain mean as often as it wins.

    Args:
        members: predictions on the validation split [m, n, ...]; each may be a mean itself.
        count: how often the first counts at the beginning: the runs that it is the mean of.
        loss: of each example.

    Example:
        >>> import torch
        >>> members = torch.tensor([1.0, -1.0])[:, None].expand(2, 20)  # wrong in opposite directions everywhere
        >>> gated(members, 1, lambda prediction: prediction**2).weights
        (0.5, 0.5)
    """
    counts = np.zeros(len(members), dtype=np.int64)
    counts[0] = count
    total = members[0] * count
    current = loss(members[0])
    start = float(current.mean())
    for taken in range(count + 1, count + rounds):
        losses = torch.stack([loss((total + member) / taken) for member in members])  # [m, n]
        gains = (current - losses).nan_to_num(nan=-math.inf, posinf=-math.inf)
        if not surely_gains(gains):
            break
        pick = int(gains.mean(dim=1).argmax())
        counts[pick] += 1
        total = total + members[pick]
        current = losses[pick]
    return Selection(tuple(int(c) for c in counts), float(current.mean()), start)


def surely_gains(gains: Tensor, errors: float = 1.0) -> bool:
    """Whether the best of m others surely gains, by gains [m, n] on each example: each is counted by the one that the
    examples of the other folds choose, and so had no say in which it is. See `surely_positive`."""
    return surely_positive(_left_out(gains, torch.arange(gains.shape[1]) % _FOLDS), errors)


def surely_positive(gains: Tensor, errors: float = 1.0) -> bool:
    """Whether the mean of gains [n] exceeds so many standard errors of it; never by a few examples."""
    n = len(gains)
    if n < 2 * _FOLDS:
        return False
    gain, error = float(gains.mean()), float(gains.std()) / n**0.5
    return math.isfinite(gain) and gain > errors * error


def _left_out(gains: Tensor, folds: Tensor) -> Tensor:
    """The gain on each example [n] of the member that the other folds choose, by gains [m, n]."""
    left_out = torch.zeros(gains.shape[1], dtype=gains.dtype)
    for fold in range(_FOLDS):
        here = folds == fold
        if here.any() and not here.all():
            left_out[here] = gains[int(gains[:, ~here].mean(dim=1).argmax())][here]
    return left_out


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
    beside: Beside | None = None,
) -> dict[str, float]:
    """A task's metrics of a prediction; for probabilities also negative log-likelihood and calibration error.

    The calibration error is the expected one over 15 equal-width bins (L1; Guo et al. 2017, eq. 5); labels of
    one example count as predictions of their own.

    Args:
        thresholds: from which probability on each label is said [c], fitted on other examples; None: from a half on.
        beside: a score that cannot be had is NaN, and is told there; without it, its error is raised.
    """
    output = to_output(prediction, kind)
    decided = output if thresholds is None else output - thresholds.to(output.dtype).logit()
    asked: dict[str, Callable[[], Any]] = {
        name: partial(metric.at_half, decided, target)
        if isinstance(metric, Decided)
        else partial(metric, output, target)
        for name, metric in metrics.items()
    }
    if kind != "regression":
        asked["nll"] = lambda: negative_log_likelihood(prediction, target).mean()
        asked["calibration_error"] = partial(_calibration_error, prediction, target, kind)
    if beside is None:
        return {name: float(score()) for name, score in asked.items()}
    return {
        name: beside.made(f"the score {name}", lambda score=score: float(score()), math.nan)  # type: ignore[misc]
        for name, score in asked.items()
    }


def _calibration_error(prediction: Tensor, target: Tensor, kind: Kind) -> float:
    if kind == "classification":
        confidence, label = prediction.max(dim=1)
        right = label == target
    else:
        confidence, right = prediction, target
    confidence, right = confidence.flatten(), right.flatten()
    edges = torch.linspace(0, 1, _BINS + 1, dtype=confidence.dtype)
    bins = torch.bucketize(confidence, edges, right=True) - 1
    # A bin's share of the examples times its gap: the counts cancel.
    gaps = torch.zeros_like(edges).scatter_add(0, bins, right.to(confidence.dtype) - confidence)
    return float(gaps.abs().sum() / len(confidence))
