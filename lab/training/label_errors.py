"""Which given labels are probably wrong, by the predictions of models that were trained without those examples.

Shapes: n examples, c classes or labels, t values.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NORMAL = 1.4826
"""Times the median absolute deviation of normal errors, which is their standard deviation."""
FAR = 3.5
"""Robust standard deviations, beyond which a value is taken for an outlier (Iglewicz and Hoaglin 1993, How to Detect
and Handle Outliers, section 3.3)."""


def confidently_other(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Whether each example [n] is confidently of another class than the given one.

    That is the off-diagonal of the confident joint (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, section 3.1):
    a class is confident in an example where its probability [n, c] is at least the mean that it has among the
    examples of which it is given; of several such classes the most probable counts. So neither a class that is rare
    nor one that the models are unsure of is suspected for that.

    Example:
        >>> import torch
        >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]])
        >>> confidently_other(p, torch.tensor([0, 0, 1, 1])).tolist()
        [False, False, False, True]
    """
    chosen = torch.nn.functional.one_hot(labels, probabilities.shape[1]).to(probabilities.dtype)
    means = (probabilities * chosen).sum(dim=0) / chosen.sum(dim=0)  # NaN, which nothing reaches, for a class of none
    confident = torch.where(probabilities >= means, probabilities, -1.0)
    best, of_class = confident.max(dim=1)
    return (best >= 0) & (of_class != labels)


def standardised(residuals: Tensor) -> Tensor:
    """Residuals [n, t] in robust standard deviations from their median: by the median absolute deviation, which a few
    wrong targets do not widen; by the standard deviation where more than half of them are equal."""
    centred = residuals - residuals.median(dim=0).values
    spread = _NORMAL * centred.abs().median(dim=0).values
    spread = torch.where(spread > 0, spread, centred.std(dim=0))
    return centred / torch.where(spread > 0, spread, 1.0)
