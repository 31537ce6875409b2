"""Rules that read one learning rate off a range test's smoothed losses.

The four of fastai give fastai 2.8's values on the same losses, which golden files hold them to. Shapes: lrs [s] rise,
losses [s] are finite; s >= 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lab.range_test.curve import Floats


def longest_decline(losses: Floats) -> tuple[int, int]:
    """(last - length, last) of the longest strictly decreasing subsequence; the earliest where several are as long.

    The first is -1 where everything falls, as in fastai.
    """
    n = len(losses)
    length = np.ones(n, dtype=np.int64)
    for i in range(1, n):
        below = length[:i][losses[i] < losses[:i]]
        length[i] = 1 + (below.max() if below.size else 0)
    last = int(length.argmax())
    return (last - int(length[last]), last) if length[last] > 1 else (0, 0)


def valley(lrs: Floats, losses: Floats) -> float:
    """A point halfway along the longest valley (fastai's default)."""
    first, last = longest_decline(losses)
    third = (last - first) / 3
    return float(lrs[first + int(third) + int(third / 2)])


def slide(lrs: Floats, losses: Floats, width: int = 15, threshold: float = 0.005) -> float:
    """Slides an interval of `width` steps down from the end until the loss's slope is the same at both its ends."""
    slope = np.gradient(losses)
    right, left = -1, -1 - width
    if -left > len(losses):
        return float(lrs[0])
    lr = lrs[left]
    while left >= -len(losses) and abs(slope[right] - slope[left]) > threshold:
        lr = lrs[left]
        right, left = right - 1, left - 1
    return float(lr)


def minimum(lrs: Floats, losses: Floats) -> float:
    """A tenth of the rate at the least loss."""
    return float(lrs[int(losses.argmin())]) / 10


def steep(lrs: Floats, losses: Floats) -> float:
    """Where the loss falls most per unit of log rate."""
    return float(lrs[int((np.diff(losses) / np.diff(np.log(lrs))).argmin())])


RULES: dict[str, Callable[[Floats, Floats], float]] = {
    "valley": valley,
    "slide": slide,
    "steep": steep,
    "minimum": minimum,
}
