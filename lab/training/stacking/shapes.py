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
from lab.training.stacking.operation import Lowered, Operation, Placeholder, Rule

FEATURES, CHANNELS, SLOTS = Layout.FEATURES, Layout.CHANNELS, Layout.SLOTS


def reshape(operation: Operation) -> Lowered:
    """Each example in another shape: `flatten(1)`, `view(b, -1)`, `reshape(len(x), 2, 3)`.

    As elements keep their order, it is so whenever there are as many examples before as after.
    """
    (value,) = operation.inputs
    if (
        not operation.shape
        or operation.shape[0] != value.shape[0]
        or math.prod(operation.shape) != math.prod(value.shape)
    ):
        raise operation.refuse("across examples")
    k, shape = operation.stack.width, operation.shape[1:]
    if operation.shape == value.shape:
        return Lowered(lambda x: x, (value.layout,), value.layout)
    if value.layout is CHANNELS and len(shape) == 1:
        return Lowered(lambda x: x.reshape(x.shape[0], k, -1).permute(1, 2, 0), (CHANNELS,), FEATURES)
    if len(shape) == 1:
        return Lowered(lambda x: x.flatten(2).transpose(1, 2), (SLOTS,), FEATURES)
    return Lowered(lambda x: x.reshape(x.shape[0], x.shape[1], *shape), (SLOTS,), SLOTS)


def permute(operation: Operation) -> Lowered:
    """`permute(0, 2, 1)`; the examples may go anywhere too."""
    dims_of_plain = (
        operation.args[1]
        if len(operation.args) == 2 and isinstance(operation.args[1], (tuple, list))
        else operation.args[1:]
    )
    dims = [0, *(dim % operation.inputs[0].rank + 1 for dim in dims_of_plain)]
    return Lowered(lambda x: x.permute(dims), (SLOTS,), SLOTS)


def transpose(operation: Operation) -> Lowered:
    rank = operation.inputs[0].rank
    one, other = (operation.argument(i, f"dim{i - 1}") % rank + 1 for i in (1, 2))
    return Lowered(lambda x: x.transpose(one, other), (SLOTS,), SLOTS)


def parts(operation: Operation, function: Callable[..., Any]) -> Lowered:
    """unbind, chunk, split: several tensors, of which `getitem` takes one."""
    at = 1 if function is torch.unbind else 2
    sizes, dim = operation.args[1:at], operation.argument(at, "dim", 0)
    if len(sizes) != at - 1 or not isinstance(dim, int):
        raise operation.refuse("with arguments by name")
    shifted = dim % operation.inputs[0].rank + 1
    return Lowered(lambda x: function(x, *sizes, shifted), (SLOTS,), SLOTS)


def item(operation: Operation) -> Lowered:
    """`x[:, 2:5]`, `x[:, 0]`, `x[..., 1]`: what keeps all examples."""
    (value,) = operation.inputs
    indices = operation.args[1] if isinstance(operation.args[1], tuple) else (operation.args[1],)
    if any(isinstance(i, (Tensor, Placeholder, list)) for i in indices):
        raise operation.refuse("by a tensor or a list")
    if indices[0] is Ellipsis:
        indices = (slice(None),) * (value.rank - sum(i is not None for i in indices[1:])) + indices[1:]
    if value.layout is FEATURES and len(indices) == 2 and indices[0] == slice(None):
        if isinstance(indices[1], slice):
            part = indices[1]
            return Lowered(lambda x: x[:, part], (FEATURES,), FEATURES)
        if isinstance(indices[1], int):
            position = indices[1]
            return Lowered(lambda x: x[:, position], (FEATURES,), SLOTS)
    index = (slice(None), *indices)
    return Lowered(lambda x: x[index], (SLOTS,), SLOTS)


def concatenate(operation: Operation) -> Lowered:
    parts = operation.args[0] if operation.args else operation.kwargs["tensors"]
    if not all(isinstance(part, Placeholder) for part in parts):
        raise operation.refuse("of something other than tensors")
    dim = operation.argument(1, "dim", 0)
    values = [operation.inputs[part.index] for part in parts]
    rank = len(operation.shape)
    dim += rank if dim < 0 else 0
    order = tuple(part.index for part in parts)
    if dim == 1 and rank == 2:
        return Lowered(lambda *t: torch.cat([t[i] for i in order], 1), (FEATURES,) * len(operation.inputs), FEATURES)
    if all(value.layout is CHANNELS for value in values) and dim > 0:
        k, inputs = operation.stack.width, (CHANNELS,) * len(operation.inputs)
        if dim > 1:
            return Lowered(lambda *t: torch.cat([t[i] for i in order], dim), inputs, CHANNELS)

        def channels(*tensors: Tensor) -> Tensor:
            """A slot's channels stay together: [b, k, c, ...] are joined, not [b, k*c, ...]."""
            own = [tensors[i].view(tensors[i].shape[0], k, -1, *tensors[i].shape[2:]) for i in order]
            return torch.cat(own, 2).flatten(1, 2)

        return Lowered(channels, inputs, CHANNELS)
    return Lowered(lambda *t: torch.cat([t[i] for i in order], dim + 1), (SLOTS,) * len(operation.inputs), SLOTS)


def squeeze(operation: Operation) -> Lowered:
    """squeeze(d) and unsqueeze(d) of other dimensions than the examples."""
    (value,) = operation.inputs
    dim = operation.argument(1, "dim")
    function = torch.squeeze if "unsqueeze" not in operation.kind else torch.unsqueeze
    rank = max(value.rank, len(operation.shape))
    if not isinstance(dim, int) or dim % rank == 0:
        raise operation.refuse("of the examples, or of no dimension")
    shifted = dim % rank + 1
    return Lowered(lambda x: function(x, shifted), (SLOTS,), SLOTS)


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
