"""Stacked forms of functions and methods, and of operators such as `x + y` and `x[:, :3]`.

Shapes: k slots, b examples, f features, c channels; layouts as in `layouts`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lab.training.stacking import dropping
from lab.training.stacking.layouts import Layout, Value
from lab.training.stacking.operation import Lowered, Operation, Placeholder, Rule
from lab.training.stacking.shapes import SHAPES

FEATURES, CHANNELS, SLOTS = Layout.FEATURES, Layout.CHANNELS, Layout.SLOTS


def elementwise(operation: Operation, function: Any) -> Lowered:
    """Any function that computes each element from those at its place, under broadcasting."""
    call = operation.call(function)
    layouts = {value.layout for value in operation.inputs}
    if len(layouts) == 1 and all(value.shape == operation.shape for value in operation.inputs):
        (layout,) = layouts
        return Lowered(call, (layout,) * len(operation.inputs), layout)
    for layout in (CHANNELS, FEATURES):
        aligned = [_aligned(value, layout, operation.shape) for value in operation.inputs]
        if layout in layouts and None not in aligned:
            wants = tuple(layout if value.rank == len(operation.shape) else SLOTS for value in operation.inputs)
            return Lowered(_broadcast(call, aligned), wants, layout)
    aligned = [_with_rank(value.rank, len(operation.shape)) for value in operation.inputs]
    return Lowered(_broadcast(call, aligned), (SLOTS,) * len(operation.inputs), SLOTS)


def _aligned(value: Value, layout: Layout, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor] | None:
    """How a tensor must be viewed to be broadcast in a layout against values of `shape`; None if it cannot be."""
    rank = len(shape)
    if layout is FEATURES:
        if rank != 2 or value.rank > 2:
            return None
        return _as_it_is if value.rank == 2 else {0: _view_00, 1: _view_0}[value.rank]
    if rank < 3:
        return None
    if value.rank == rank:
        return _as_it_is if value.shape[1] == shape[1] else None
    if value.rank == rank - 1 and value.shape[0] == shape[1]:
        return lambda x: x.flatten(0, 1)  # [k, c, ...] -> [k*c, ...]
    return None


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _view_00(x: Tensor) -> Tensor:
    return x[:, None, None]


def _view_0(x: Tensor) -> Tensor:
    return x.unsqueeze(2)


def _with_rank(rank: int, wanted: int) -> Callable[[Tensor], Tensor]:
    """[k, ...] of a lower rank gets ones after its slots, as broadcasting would put them in front."""
    if rank == wanted:
        return _as_it_is
    return lambda x: x.view(x.shape[0], *[1] * (wanted - rank), *x.shape[1:])


def _broadcast(call: Callable[..., Any], views: Any) -> Callable[..., Any]:
    if all(view is _as_it_is for view in views):
        return call
    return lambda *tensors: call(*(view(tensor) for view, tensor in zip(views, tensors, strict=True)))


def reduction(operation: Operation, function: Callable[..., Any]) -> Lowered:
    """mean, sum, amax over dimensions other than the examples."""
    (value,) = operation.inputs
    dims, keep = operation.argument(1, "dim"), bool(operation.argument(2, "keepdim", False))
    if dims is None or set(operation.kwargs) - {"dim", "keepdim"}:
        raise operation.refuse("over all elements, or with more than dimensions")
    dims = tuple(d + value.rank if d < 0 else d for d in ((dims,) if isinstance(dims, int) else dims))
    if 0 in dims:
        raise operation.refuse("over the examples")
    if value.layout is FEATURES:
        return Lowered(lambda x: function(x, 1, keep), (FEATURES,), FEATURES if keep else SLOTS)
    if value.layout is CHANNELS and 1 not in dims:
        if keep or len(dims) < value.rank - 2:
            return Lowered(lambda x: function(x, dims, keep), (CHANNELS,), CHANNELS)
        k = operation.stack.width
        return Lowered(lambda x: function(x, dims).unflatten(1, (k, -1)).permute(1, 2, 0), (CHANNELS,), FEATURES)
    shifted = tuple(d + 1 for d in dims)
    return Lowered(lambda x: function(x, shifted, keep), (SLOTS,), SLOTS)


def along(operation: Operation, function: Callable[..., Any]) -> Lowered:
    """softmax and its kin, along one dimension other than the examples."""
    (value,) = operation.inputs
    dim = operation.module.dim if operation.module is not None else operation.argument(1, "dim")
    if not isinstance(dim, int) or dim % value.rank == 0:
        raise operation.refuse("without a dimension, or along the examples")
    if value.layout is FEATURES:
        return Lowered(lambda x: function(x, dim=1), (FEATURES,), FEATURES)
    shifted = dim % value.rank + 1
    return Lowered(lambda x: function(x, dim=shifted), (SLOTS,), SLOTS)


def spatial(operation: Operation, function: Callable[..., Any]) -> Lowered:
    """Pooling and resizing, which work on each channel by itself."""
    kind, (value,) = operation.kind, operation.inputs
    wanted = int(kind[-2]) + 2 if kind[-2].isdigit() else value.rank
    if value.rank != wanted or value.rank < 3:
        raise operation.refuse(f"on values of {value.rank} dimensions, examples included")
    return Lowered(operation.call(function), (CHANNELS,), CHANNELS)


def matmul(operation: Operation) -> Lowered:
    """Products of two batches of matrices of one rank."""
    if (
        len(operation.inputs) != 2
        or {value.rank for value in operation.inputs} != {len(operation.shape)}
        or len(operation.shape) < 3
    ):
        raise operation.refuse("of other than two batches of matrices")
    return Lowered(operation.call(torch.matmul), (SLOTS, SLOTS), SLOTS)


def product(operation: Operation) -> Lowered:
    """`F.linear` with a weight of the model's own, tied ones for example."""
    if [value.rank for value in operation.inputs[1:]] != [2, 1][: len(operation.inputs) - 1] or operation.inputs[
        0
    ].rank < 2:
        raise operation.refuse("of other than a matrix")

    def forward(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        flat = x.flatten(1, -2)
        out = torch.bmm(flat, weight.transpose(1, 2))
        if bias is not None:
            out = out + bias.unsqueeze(1)
        return out.view(*x.shape[:-1], out.shape[-1])

    names = ("input", "weight", "bias")
    if [operation.argument(i, name) for i, name in enumerate(names[: len(operation.inputs)])] != [
        *map(Placeholder, range(len(operation.inputs)))
    ]:
        raise operation.refuse("with its arguments in another order")
    return Lowered(forward, (SLOTS,) * len(operation.inputs), SLOTS)


def attention(operation: Operation) -> Lowered:
    """Scaled dot products of queries, keys and values [b, heads, t, d], all slots' batches as one."""
    if len(operation.inputs) != 3 or any(value.rank != 4 for value in operation.inputs):
        raise operation.refuse("with a mask, or of other than four dimensions")
    if operation.argument(4, "dropout_p", 0.0):
        raise operation.refuse("with dropout")
    call = operation.call(F.scaled_dot_product_attention)

    def forward(*tensors: Tensor) -> Tensor:
        out: Tensor = call(*(tensor.flatten(0, 1) for tensor in tensors))
        return out.view(*tensors[0].shape[:-1], out.shape[-1])

    return Lowered(forward, (SLOTS,) * 3, SLOTS)


def _by(rule: Callable[[Operation, Any], Lowered], function: Any) -> Rule:
    return lambda operation: rule(operation, function)


_ELEMENTWISE_FUNCTIONS: tuple[Any, ...] = (
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pow),
    *(operator.iadd, operator.isub, operator.imul, operator.itruediv),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.neg, torch.pow, torch.maximum, torch.minimum),
    *(torch.abs, torch.exp, torch.log, torch.log1p, torch.sqrt, torch.rsqrt, torch.square, torch.sin, torch.cos),
    *(torch.relu, torch.tanh, torch.sigmoid, torch.clamp, torch.where, torch.addcmul),
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.celu, F.selu, F.gelu, F.silu, F.mish, F.softplus),
    *(F.tanh, F.sigmoid, F.logsigmoid, F.hardtanh, F.hardswish, F.hardsigmoid),
)
_ELEMENTWISE_METHODS = (
    *("add", "sub", "mul", "div", "neg", "pow", "abs", "exp", "log", "sqrt", "rsqrt", "square", "sin", "cos"),
    *("relu", "tanh", "sigmoid", "clamp", "contiguous", "clone", "detach"),
    *("long", "int", "float", "double", "bool", "to", "type_as"),
)
_REDUCTIONS = ("mean", "sum", "amax", "amin")


def method(name: str) -> Callable[..., Any]:
    """A tensor's method as a function."""
    return lambda x, *rest, **kwargs: getattr(x, name)(*rest, **kwargs)


FUNCTIONS: dict[Any, Rule] = {
    **{function: _by(elementwise, function) for function in _ELEMENTWISE_FUNCTIONS},
    **{name: _by(elementwise, method(name)) for name in _ELEMENTWISE_METHODS},
    **{getattr(torch, name): _by(reduction, getattr(torch, name)) for name in _REDUCTIONS},
    **{name: _by(reduction, getattr(torch, name)) for name in _REDUCTIONS},
    **{
        form: _by(along, function)
        for function, forms in {
            torch.softmax: (torch.softmax, F.softmax, "softmax"),
            torch.log_softmax: (torch.log_softmax, F.log_softmax, "log_softmax"),
        }.items()
        for form in forms
    },
    **SHAPES,
    **{
        function: _by(spatial, function)
        for function in (
            *(F.max_pool1d, F.max_pool2d, F.avg_pool1d, F.avg_pool2d, F.interpolate),
            *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_max_pool1d, F.adaptive_max_pool2d),
        )
    },
    **dict.fromkeys((torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm"), matmul),
    F.linear: product,
    **{function: _by(dropping.call, whole_channels) for function, whole_channels in dropping.CALLS.items()},
    F.scaled_dot_product_attention: attention,
}
"""By the function itself, or by a method's name."""
