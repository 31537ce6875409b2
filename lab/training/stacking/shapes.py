"""Stacked forms of what only rearranges: flatten, view, permute, squeeze, indexing, parts, concatenation.

Shapes: k slots, b examples; layouts as in `layouts`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lab.training.stacking.layouts import Layout
from lab.training.stacking.operation import Built, Hole, Rule, Site

FEATURES, CHANNELS, SLOTS = Layout.FEATURES, Layout.CHANNELS, Layout.SLOTS


def reshape(site: Site) -> Built:
    """Each example in another shape: `flatten(1)`, `view(b, -1)`, `reshape(len(x), 2, 3)`.

    As elements keep their order, it is so whenever there are as many examples before as after.
    """
    (value,) = site.inputs
    if not site.shape or site.shape[0] != value.shape[0] or math.prod(site.shape) != math.prod(value.shape):
        raise site.refuse("across examples")
    k, shape = site.stack.width, site.shape[1:]
    if site.shape == value.shape:
        return Built(lambda x: x, (value.layout,), value.layout)
    if value.layout is CHANNELS and len(shape) == 1:
        return Built(lambda x: x.reshape(x.shape[0], k, -1).permute(1, 2, 0), (CHANNELS,), FEATURES)
    if len(shape) == 1:
        return Built(lambda x: x.flatten(2).transpose(1, 2), (SLOTS,), FEATURES)
    return Built(lambda x: x.reshape(x.shape[0], x.shape[1], *shape), (SLOTS,), SLOTS)


def permute(site: Site) -> Built:
    """`permute(0, 2, 1)`; the examples may go anywhere too."""
    given = site.args[1] if len(site.args) == 2 and isinstance(site.args[1], (tuple, list)) else site.args[1:]
    dims = [0, *(dim % site.inputs[0].rank + 1 for dim in given)]
    return Built(lambda x: x.permute(dims), (SLOTS,), SLOTS)


def transpose(site: Site) -> Built:
    rank = site.inputs[0].rank
    one, other = (site.argument(i, f"dim{i - 1}") % rank + 1 for i in (1, 2))
    return Built(lambda x: x.transpose(one, other), (SLOTS,), SLOTS)


def parts(site: Site, function: Callable[..., Any]) -> Built:
    """unbind, chunk, split: several tensors, of which `getitem` takes one."""
    at = 1 if function is torch.unbind else 2
    sizes, dim = site.args[1:at], site.argument(at, "dim", 0)
    if len(sizes) != at - 1 or not isinstance(dim, int):
        raise site.refuse("with arguments by name")
    shifted = dim % site.inputs[0].rank + 1
    return Built(lambda x: function(x, *sizes, shifted), (SLOTS,), SLOTS)


def item(site: Site) -> Built:
    """`x[:, 2:5]`, `x[:, 0]`, `x[..., 1]`: what keeps all examples."""
    (value,) = site.inputs
    given = site.args[1] if isinstance(site.args[1], tuple) else (site.args[1],)
    if any(isinstance(i, (Tensor, Hole, list)) for i in given):
        raise site.refuse("by a tensor or a list")
    if given[0] is Ellipsis:
        given = (slice(None),) * (value.rank - sum(i is not None for i in given[1:])) + given[1:]
    if value.layout is FEATURES and len(given) == 2 and given[0] == slice(None):
        if isinstance(given[1], slice):
            part = given[1]
            return Built(lambda x: x[:, part], (FEATURES,), FEATURES)
        if isinstance(given[1], int):
            place = given[1]
            return Built(lambda x: x[:, place], (FEATURES,), SLOTS)
    index = (slice(None), *given)
    return Built(lambda x: x[index], (SLOTS,), SLOTS)


def concatenate(site: Site) -> Built:
    parts = site.args[0] if site.args else site.kwargs["tensors"]
    if not all(isinstance(part, Hole) for part in parts):
        raise site.refuse("of something other than tensors")
    dim = site.argument(1, "dim", 0)
    values = [site.inputs[part.index] for part in parts]
    rank = len(site.shape)
    dim += rank if dim < 0 else 0
    order = tuple(part.index for part in parts)
    if dim == 1 and rank == 2:
        return Built(lambda *t: torch.cat([t[i] for i in order], 1), (FEATURES,) * len(site.inputs), FEATURES)
    if all(value.layout is CHANNELS for value in values) and dim > 0:
        k, inputs = site.stack.width, (CHANNELS,) * len(site.inputs)
        if dim > 1:
            return Built(lambda *t: torch.cat([t[i] for i in order], dim), inputs, CHANNELS)

        def channels(*tensors: Tensor) -> Tensor:
            """A slot's channels stay together: [b, k, c, ...] are joined, not [b, k*c, ...]."""
            own = [tensors[i].view(tensors[i].shape[0], k, -1, *tensors[i].shape[2:]) for i in order]
            return torch.cat(own, 2).flatten(1, 2)

        return Built(channels, inputs, CHANNELS)
    return Built(lambda *t: torch.cat([t[i] for i in order], dim + 1), (SLOTS,) * len(site.inputs), SLOTS)


def squeeze(site: Site) -> Built:
    """squeeze(d) and unsqueeze(d) of other dimensions than the examples."""
    (value,) = site.inputs
    dim = site.argument(1, "dim")
    function = torch.squeeze if "unsqueeze" not in site.operation else torch.unsqueeze
    rank = max(value.rank, len(site.shape))
    if not isinstance(dim, int) or dim % rank == 0:
        raise site.refuse("of the examples, or of no dimension")
    shifted = dim % rank + 1
    return Built(lambda x: function(x, shifted), (SLOTS,), SLOTS)


SHAPES: dict[Any, Rule] = {
    **dict.fromkeys((torch.flatten, torch.reshape, "flatten", "view", "reshape", "unflatten"), reshape),
    **dict.fromkeys((torch.permute, "permute"), permute),
    **dict.fromkeys((torch.transpose, "transpose"), transpose),
    **{
        form: partial(parts, function=function)
        for function in (torch.unbind, torch.chunk, torch.split)
        for form in (function, function.__name__)
    },
    **dict.fromkeys((torch.squeeze, torch.unsqueeze, "squeeze", "unsqueeze"), squeeze),
    **dict.fromkeys((torch.cat, torch.concat), concatenate),
    operator.getitem: item,
}
"""By the function itself, or by a method's name."""
