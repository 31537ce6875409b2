"""Texts of like lengths together: a batch costs what its longest text does. b texts, t tokens, f features of a text."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_TEXTS = 8
"""Texts at a time: fewer are no faster, as a processor's products of matrices get small."""


def by_length(codes: Tensor, make: Callable[[Tensor], Tensor], texts: int = _TEXTS) -> Tensor:
    """What is made of texts [b, t] whose codes are 0 behind their end: [b, f], in their order.

    On a processor they are made a few at a time, in the order of their lengths, and columns are left out that none of
    these reaches. A GPU takes all at once: many small products cost it more than padding does. Sums over what is left
    may be taken in another order, so that a text's last bits depend on those beside it.

    Args:
        make: of some texts, features that do not depend on what fills them up.
    """
    ends = _ends(codes)
    if codes.device.type != "cpu" or len(codes) <= texts:
        return make(_cut(codes, ends))
    order = ends.argsort(stable=True)
    made = [make(_cut(codes[rows], ends[rows])) for rows in torch.split(order, texts)]
    return torch.cat(made)[order.argsort()]


def _ends(codes: Tensor) -> Tensor:
    """Behind which column each text ends, [b]; some of its tokens may be left out."""
    columns = torch.arange(1, codes.shape[1] + 1, device=codes.device)
    return ((codes > 0) * columns).amax(dim=1)


def _cut(codes: Tensor, ends: Tensor) -> Tensor:
    return codes[:, : max(int(ends.max()), 1)]
