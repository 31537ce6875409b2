"""Inputs that are several tensors, given as a tuple or by name, as one: each example's numbers behind each other.

So everything between a task's data and its model knows one tensor only; the model is given them apart again.

Shapes: n examples, s numbers of an example.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lab.errors import TaskError

_KEPT = "_row_of_inputs"
"""Under what a task keeps how its inputs lie."""
_EXACT = 2**24
"""The whole numbers up to which float32 has every one."""
_PREFIX = "net."


@dataclass(frozen=True)
class Row:
    """How an example's inputs lie behind each other."""

    names: tuple[str, ...]
    """By which the model takes them; empty: in their order."""
    shapes: tuple[tuple[int, ...], ...]
    """Those of an example."""
    dtypes: tuple[torch.dtype, ...]

    @property
    def arrays(self) -> tuple[str, ...]:
        """What the arrays of a user's .npz are called; those without names as `numpy.savez` calls them."""
        return self.names or tuple(f"arr_{i}" for i in range(len(self.shapes)))


class Unpacked(nn.Module):
    """A model of several inputs, as one of the row in which they lie."""

    def __init__(self, net: nn.Module, row: Row) -> None:
        super().__init__()
        self.net = net
        self.names, self.shapes, self.dtypes = row.names, row.shapes, row.dtypes  # plain, so that models are compared

    def forward(self, x: Tensor) -> Tensor:
        inputs = apart(x, self.shapes, self.dtypes)
        output: Tensor = self.net(**dict(zip(self.names, inputs, strict=True))) if self.names else self.net(*inputs)
        return output


def apart(x: Tensor, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> list[Tensor]:
    """The inputs [n, ...] that lie in x [n, s]. Whole numbers get their type back; the others are as precise as x,
    which a path may have made float64."""
    inputs, start = [], 0
    for shape, dtype in zip(shapes, dtypes, strict=True):
        end = start + math.prod(shape)
        part = x[:, start:end].reshape(x.shape[0], *shape) if shape else x[:, start]
        inputs.append(part if dtype.is_floating_point else part.to(dtype))
        start = end
    return inputs


def are_several(inputs: object) -> bool:
    """Whether inputs are several tensors, or arrays."""
    parts = [*inputs.values()] if isinstance(inputs, Mapping) else inputs
    return isinstance(parts, (tuple, list)) and bool(parts) and all(isinstance(p, (Tensor, np.ndarray)) for p in parts)


def packed(task: Any, inputs: Any, where: str) -> Tensor:
    """Several inputs of a task's data as one tensor [n, s]; the task keeps how they lie in it.

    Raises:
        TaskError: they are not as many examples each, are others than before, or cannot be told apart again.
    """
    x, row = _packed(row_of(task), inputs, where)
    vars(task)[_KEPT] = row
    return x


def as_one(task: Any, inputs: Any, where: str) -> Tensor:
    """Inputs [n, ...] that somebody wants predictions for, as one tensor: several ones as those of the task's data lie.

    Raises:
        TaskError: they are no numbers, or others than the data's.
    """
    if are_several(inputs):
        if row_of(task) is None:
            task.data("train")  # by which it is known whether there are several inputs
        row = row_of(task)
        if row is not None:
            return _packed(row, inputs, where)[0]
        if not isinstance(inputs, Mapping):  # examples one by one
            inputs = np.stack([np.asarray(part) for part in inputs]) if len({p.shape for p in inputs}) == 1 else inputs
    kind = type(inputs).__name__
    if kind == "Series":  # of pandas, whose rows and columns look alike
        instead = "give a DataFrame (of one row: series.to_frame().T), or a list (series.tolist())"
        raise TaskError(f"{where}: a Series is no inputs [n, ...]; {instead}")
    try:
        return torch.as_tensor(inputs)
    except (RuntimeError, TypeError, ValueError):
        what = f"an array of {inputs.dtype}" if isinstance(inputs, np.ndarray) else f"a {kind}"
        instead = "give an array of numbers, or what the study learned from: a DataFrame, texts, images"
        raise TaskError(f"{where}: {what} is no inputs [n, ...]; {instead}") from None


def _packed(before: Row | None, inputs: Any, where: str) -> tuple[Tensor, Row]:
    """Several inputs as one tensor [n, s], and how they lie in it: as earlier ones do, if there were any."""
    names = tuple(map(str, inputs)) if isinstance(inputs, Mapping) else ()
    parts = [torch.as_tensor(part) for part in (inputs.values() if isinstance(inputs, Mapping) else inputs)]
    if len(set(names)) < len(names):
        raise TaskError(f"{where}: two inputs have the same name: {', '.join(names)}")
    if any(part.ndim == 0 for part in parts) or len({len(part) for part in parts}) > 1:
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise TaskError(f"{where}: several inputs must have as many rows each; got {shapes}")
    if before is not None and set(before.names) == set(names):
        parts = [dict(zip(names, parts, strict=True))[name] for name in before.names] or parts
        names = before.names
    row = Row(names, tuple(tuple(p.shape[1:]) for p in parts), tuple(p.dtype for p in parts))
    if before is not None:
        if (before.names, before.shapes) != (row.names, row.shapes):
            raise TaskError(f"{where}: gives inputs {_said(row)}; others of this task are {_said(before)}")
        parts = [_of_type(*of, where) for of in zip(parts, before.dtypes, before.arrays, strict=True)]
        row = before
    flat = [part.flatten(1) if part.ndim > 1 else part[:, None] for part in parts]
    if len(set(row.dtypes)) > 1:
        for part, said in zip(flat, row.arrays, strict=True):
            if part.is_complex():
                raise TaskError(f"{where}: input {said!r} is complex, beside inputs of another type; give real numbers")
            if not part.is_floating_point() and part.numel() and float(part.double().abs().max()) > _EXACT:
                others = "beside inputs of another type"
                raise TaskError(f"{where}: input {said!r} has whole numbers above {_EXACT:,} {others}")
        flat = [part.to(torch.float32) for part in flat]
    return torch.cat(flat, dim=1), row


def _of_type(part: Tensor, dtype: torch.dtype, name: str, where: str) -> Tensor:
    """An input in the type of earlier ones.

    Raises:
        TaskError: they are whole numbers, and these are none.
    """
    if part.dtype == dtype:
        return part
    of_type = part.to(dtype)
    if not dtype.is_floating_point and not dtype.is_complex and not bool((of_type.double() == part.double()).all()):
        kind = str(dtype).removeprefix("torch.")
        raise TaskError(f"{where}: input {name!r} has values that are no {kind}, as others of this task are")
    return of_type


def of_each(task: Any, x: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """A tensor [n, s] with each of the several inputs that lie in it made anew."""
    row = row_of(task)
    assert row is not None  # asked before
    made = [make(part) for part in apart(x, row.shapes, row.dtypes)]
    return _packed(row, dict(zip(row.names, made, strict=True)) if row.names else made, type(task).__name__)[0]


def row_of(task: Any) -> Row | None:
    """How a task's inputs lie; None where they are one tensor, or have not been seen yet."""
    row: Row | None = vars(task).get(_KEPT)
    return row


def takes_apart(model: Callable[[Any, Any], nn.Module]) -> Callable[[Any, Any], nn.Module]:
    """A task's `model`, which is given its several inputs apart."""

    @functools.wraps(model)
    def build(self: Any, params: Any) -> nn.Module:
        net, row = model(self, params), row_of(self)
        plain = isinstance(net, nn.Module) and not isinstance(net, Unpacked)
        return Unpacked(net, row) if row is not None and plain else net

    return build


def names_apart(
    groups: Callable[[Any, nn.Module], Sequence[Sequence[str]]],
) -> Callable[[Any, nn.Module], Sequence[Sequence[str]]]:
    """A task's `groups`, which is asked about the model that it has built."""

    @functools.wraps(groups)
    def named(self: Any, model: nn.Module) -> Sequence[Sequence[str]]:
        if not isinstance(model, Unpacked):
            return groups(self, model)
        return [[_PREFIX + name for name in group] for group in groups(self, model.net)]

    return named


def recipe_of(row: Row) -> str:
    """Lines of Python that lay several inputs behind each other, as `packed` does."""
    pairs = zip(row.shapes, row.dtypes, strict=True)
    each = ", ".join(f"torch.zeros({', '.join(map(str, (2, *shape)))}, dtype={dtype})" for shape, dtype in pairs)
    each_row = "one[:, None].flatten(1)" + (".float()" if len(set(row.dtypes)) > 1 else "")
    return f"inputs = ({each},)  # {', '.join(row.arrays)}\nx = torch.cat([{each_row} for one in inputs], dim=1)\n"


def _said(row: Row) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in zip(row.arrays, row.shapes, strict=True))
