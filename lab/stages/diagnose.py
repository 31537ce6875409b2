"""Counts of what a model says on the test split beside what is true, in one pass.

Shapes: n examples, c classes or labels, t values. Where each part of an example has a class, there is more behind [n]
and [n, c], and parts are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import starmap

import numpy as np
import torch
from torch import Tensor

from lab.stages.diagnostics import (
    Bin,
    ConfusedPair,
    Confusion,
    Diagnostics,
    Example,
    LabelCounts,
    Reliability,
    Residuals,
)
from lab.stages.examples import example_of
from lab.tasks.beside import Beside
from lab.tasks.several_targets import OneTarget, each_target
from lab.tasks.task import Task

MOST_CLASSES = 30
"""A matrix of more is not read; its most confused pairs are."""
_PAIRS = 10
_LABELS = 100
_BINS = 10
_POINTS = 2000
"""Points of all targets together, which a page shows one by one."""
_MOST_TARGETS = 12
"""Values that an example has a plot for each; more are parts of one thing, such as the hours of a forecast."""
_TAIL = 0.05


def diagnose(
    task: Task, prediction: Tensor, target: Tensor, beside: Beside, thresholds: Tensor | None = None, seed: int = 0
) -> tuple[Diagnostics, ...]:
    """What a calibrated prediction [n, ...] does with each target of the test split; none where predicted values and
    targets cannot be compared.

    Args:
        beside: is told what could not be counted.
        thresholds: from which probability on each label is said [c]; None: from a half on.
        seed: decides which values are kept of very many.
    """
    none: tuple[Diagnostics, ...] = ()
    each = partial(_diagnose, task, prediction, target, beside, thresholds, seed)
    return beside.made("test rows, counted", each, none)


def _diagnose(
    task: Task, prediction: Tensor, target: Tensor, beside: Beside, thresholds: Tensor | None, seed: int
) -> tuple[Diagnostics, ...]:
    if not len(target):
        return ()
    targets = each_target(task, prediction, target)
    counted: list[Diagnostics] = []
    values = [one for one in targets if one.kind == "regression"]
    for one in targets:
        if one.kind == "classification":
            counted.append(_of_classes(task, one, prediction, target, beside))
        elif one.kind == "multilabel":
            counted.append(_of_labels(one, thresholds))
        else:
            counted += _of_values(one, seed, max(_POINTS // len(values), 200))
    return tuple(counted)


def _of_classes(task: Task, one: OneTarget, prediction: Tensor, target: Tensor, beside: Beside) -> Diagnostics:
    classes = one.prediction.shape[1]
    names = tuple(one.names) if len(one.names) == classes else tuple(map(str, range(classes)))
    confidence, said = one.prediction.max(dim=1)
    parts = said[0].numel()
    confidence, said, true = (values.flatten() for values in (confidence, said, one.target.long()))
    there = confidence.isfinite() & (true >= 0) & (true < classes)
    rows = torch.nonzero(there)[:, 0]
    confidence, said, true = confidence[rows].double(), said[rows], true[rows]
    if not len(rows):
        return Diagnostics(one.name)

    codes, wrong = true * classes + said, said != true

    def example(code: int) -> Example | None:
        """The surest of a pair's mistakes."""
        if parts > 1:
            return None
        index = int(rows[torch.where(codes == code, confidence, -1.0).argmax()])
        return beside.made("examples", lambda: example_of(task, index, prediction[index], target[index]), None)

    matrix = codes.bincount(minlength=classes**2).view(classes, classes) if classes <= MOST_CLASSES else None
    if matrix is None:
        mistakes, counts = torch.unique(codes[wrong], return_counts=True)
    else:
        counts = (matrix - matrix.diag().diag()).flatten()
        mistakes = counts.nonzero()[:, 0]
        counts = counts[mistakes]
    support = true.bincount(minlength=classes)
    order = counts.argsort(descending=True, stable=True)[:_PAIRS]
    pairs = tuple(
        ConfusedPair(names[code // classes], names[code % classes], count, int(support[code // classes]), example(code))
        for code, count in zip(mistakes[order].tolist(), counts[order].tolist(), strict=True)
    )
    shown = () if matrix is None else tuple(map(tuple, matrix.tolist()))
    confusion = Confusion(len(rows), classes, int(wrong.sum()), pairs, names if shown else (), shown)
    return Diagnostics(one.name, confusion, _reliability(confidence, ~wrong))


def _reliability(confidence: Tensor, right: Tensor) -> Reliability:
    """Bins of confidences float64 [n] from 0 to 1, and which of the n were right."""
    at = (confidence * _BINS).long().clamp(0, _BINS - 1)
    counts = at.bincount(minlength=_BINS).tolist()
    sums = at.bincount(weights=confidence, minlength=_BINS).tolist()
    rights = at.bincount(weights=right.double(), minlength=_BINS).tolist()
    return Reliability(
        tuple(
            Bin(i / _BINS, (i + 1) / _BINS, counts[i], sums[i] / counts[i], round(rights[i]))
            for i in range(_BINS)
            if counts[i]
        )
    )


def _of_labels(one: OneTarget, thresholds: Tensor | None) -> Diagnostics:
    said, true = one.prediction > (0.5 if thresholds is None else thresholds), one.target > 0.5
    if said.ndim != 2:  # each part of an example has a yes or no
        said, true = (values.reshape(-1, 1) for values in (said, true))
    columns = [values.sum(dim=0) for values in (true, said, true & said)]
    labels = said.shape[1]
    names = tuple(one.names) if len(one.names) == labels else tuple(map(str, range(labels)))
    kept = columns[0].argsort(descending=True, stable=True)[:_LABELS].sort().values.tolist()
    rows = zip((names[i] for i in kept), *(column[kept].tolist() for column in columns), strict=True)
    return Diagnostics(one.name, labels=tuple(starmap(LabelCounts, rows)), labels_left_out=labels - len(kept))


def _of_values(one: OneTarget, seed: int, points: int) -> list[Diagnostics]:
    """One for each value of an example where these are few, else one of all."""
    predicted, actual = (values.reshape(len(values), -1) for values in (one.prediction, one.target))
    if predicted.shape != actual.shape:
        return []
    t = actual.shape[1]
    if not 1 <= t <= _MOST_TARGETS or (t > 1 and one.target.ndim != 2):
        whole = _residuals(predicted.flatten(), actual.flatten(), seed, points)
        return [Diagnostics(f"all {t} values" if t > 1 else one.name, residuals=whole)] if whole else []
    names: Sequence[str] = [one.name] if one.name else one.names
    names = names if len(names) == t else [f"value {i + 1}" for i in range(t)] if t > 1 else [""]
    each = [_residuals(predicted[:, i], actual[:, i], seed, max(points // t, 200)) for i in range(t)]
    return [Diagnostics(name, residuals=own) for name, own in zip(names, each, strict=True) if own]


def _residuals(predicted: Tensor, actual: Tensor, seed: int, points: int) -> Residuals | None:
    """What is predicted beside what is true, values [n] each; None where no pair of them is finite."""
    p, a = (values.detach().cpu().double().numpy() for values in (predicted, actual))
    finite = np.isfinite(p) & np.isfinite(a)
    if not finite.all():
        p, a = p[finite], a[finite]
    if not len(a):
        return None
    over = p - a
    low, high = np.quantile(over, (_TAIL, 1 - _TAIL)).tolist()
    some = np.arange(len(a))
    if len(a) > points:
        some = np.sort(np.random.default_rng(seed).choice(len(a), points, replace=False))
    true, said = (tuple(float(f"{value:.6g}") for value in values[some].tolist()) for values in (a, p))
    return Residuals(len(a), true, said, float(over.mean()), float(over.std()), low, high)
