"""The probabilities from which on labels are said, fitted on examples that nothing was trained on.

Shapes: n examples, c labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lab.tasks.metrics import THRESHOLDS, Decided, logit
from lab.tasks.task import Task, micro_f1
from lab.training.ensemble import to_output

_FOLDS = 5
_ENOUGH = 5
"""Examples with a label, and without it, from which on it may have a threshold of its own."""


def thresholds_of(task: Task, prediction: Tensor, target: Tensor) -> Tensor | None:
    """Thresholds [c] of probabilities [n, c] on the validation split, where a metric of the task decides by them."""
    if not any(isinstance(metric, Decided) for metric in task.metrics.values()):
        return None
    return fit_thresholds(prediction, target)


def fit_thresholds(probabilities: Tensor, target: Tensor) -> Tensor:
    """A threshold for each label [c] by micro F1: a common one, or, where that is better on examples that it was not
    fitted to, one for each label that is there often enough. A label that is hardly there keeps the common one.

    Args:
        probabilities: [n, c].
        target: 0 and 1, [n, c].
    """
    logits = to_output(probabilities, "multilabel")
    fold = torch.arange(len(target)) % _FOLDS
    decided = {own: torch.zeros_like(logits) for own in (False, True)}
    for i in range(_FOLDS if len(target) >= 2 * _FOLDS else 0):
        rest, held = fold != i, fold == i
        for own, margins in decided.items():
            margins[held] = logits[held] - _fit(logits[rest], target[rest], own).logit()
    scores = {own: float(micro_f1(margins, target)) for own, margins in decided.items()}
    return _fit(logits, target, own=scores[True] > scores[False]).to(probabilities.dtype)


def _fit(logits: Tensor, target: Tensor, own: bool) -> Tensor:
    grid = torch.tensor(THRESHOLDS, dtype=torch.float64)
    common = grid[torch.stack([micro_f1(logits - logit(p), target) for p in THRESHOLDS]).argmax()]
    thresholds = common.repeat(target.shape[1])
    if own:
        true = target > 0.5
        hits, total = [], []
        for p in THRESHOLDS:
            said = logits > logit(p)
            hits.append((said & true).sum(dim=0))
            total.append(said.sum(dim=0) + true.sum(dim=0))
        best = grid[(2 * torch.stack(hits) / torch.stack(total).clamp_min(1)).argmax(dim=0)]
        there = true.sum(dim=0)
        enough = (there >= _ENOUGH) & (len(true) - there >= _ENOUGH)
        thresholds = torch.where(enough, best, thresholds)
    return thresholds
