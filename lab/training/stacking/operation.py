"""One operation of a plain model, which a rule takes, and its stacked form, which a rule returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor, nn

from lab.training.noise import SlotNoise
from lab.training.stacking.layouts import Layout, NotStackable, Value


class Stack(Protocol):
    """What rules may ask of the stacked model they build."""

    width: int
    training: bool
    noise: list[SlotNoise | None]

    def tensor(self, plain: Tensor) -> Tensor:
        """The stacked form [k, ...] of one of the template's parameters or buffers."""

    def gradient(self, plain: Tensor) -> Tensor | None:
        """Where a parameter's gradient [k, ...] may be written; None where it must be left to autograd."""

    def dropout_rates(self, name: str) -> list[float]:
        """The rate of each slot for the dropout layer `name`."""


@dataclass(frozen=True)
class Placeholder:
    """Where an operation's arguments hold its i-th tensor."""

    index: int


@dataclass(frozen=True)
class Varying:
    """Where arguments hold what follows from the number of examples, such as `x.size(0)`; counted on from tensors."""

    index: int


@dataclass(frozen=True)
class Operation:
    """One operation of the traced module.

    Args:
        name: the layer's name, or the operation's where it is no layer.
        kind: the layer's type, or the function's or method's name.
        args, kwargs: as in the plain forward, with a `Placeholder` for each tensor, a `Varying` for each changing size.
        inputs: the tensors, in the order of the placeholders.
        shape: of the plain output for the example batch.
    """

    stack: Stack
    name: str
    kind: str
    module: nn.Module | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Value, ...]
    shape: tuple[int, ...]

    def refuse(self, why: str) -> NotStackable:
        return NotStackable(f"{self.name}: {self.kind} {why}")

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)

    def call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of the tensors alone, with this operation's other arguments filled in."""
        args, kwargs = self.args, dict(self.kwargs)
        if (
            args
            and args[0] == Placeholder(0)
            and len(self.inputs) == 1
            and not contains(Placeholder, (args[1:], kwargs))
        ):
            rest = args[1:]
            return lambda x: function(x, *rest, **kwargs) if rest or kwargs else function(x)
        if args == tuple(Placeholder(i) for i in range(len(self.inputs))) and not kwargs:
            return function
        return lambda *tensors: function(*fill(args, tensors), **fill(kwargs, tensors))


@dataclass(frozen=True)
class Lowered:
    """An operation's stacked form: a function of its tensors in the layouts it wants."""

    forward: Callable[..., Any]
    wants: tuple[Layout, ...]
    """The layout of each tensor; sizes that vary follow behind the tensors."""
    gives: Layout


Rule: TypeAlias = Callable[[Operation], Lowered]


def fill(structure: Any, tensors: Sequence[Any]) -> Any:
    """The structure with every placeholder filled."""
    if isinstance(structure, (Placeholder, Varying)):
        return tensors[structure.index]
    if isinstance(structure, (tuple, list)):
        return type(structure)(fill(item, tensors) for item in structure)
    if isinstance(structure, dict):
        return {key: fill(item, tensors) for key, item in structure.items()}
    if isinstance(structure, slice):
        return slice(*(fill(item, tensors) for item in (structure.start, structure.stop, structure.step)))
    return structure


def contains(wanted: type, structure: Any) -> bool:
    """Whether an object of this type is somewhere in the structure."""
    if isinstance(structure, (tuple, list)):
        return any(contains(wanted, item) for item in structure)
    if isinstance(structure, dict):
        return any(contains(wanted, item) for item in structure.values())
    if isinstance(structure, slice):
        return contains(wanted, (structure.start, structure.stop, structure.step))
    return isinstance(structure, wanted)
