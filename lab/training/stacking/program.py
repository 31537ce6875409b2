"""A traced module as a list of stacked operations on numbered values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from lab.training.stacking import vmapping
from lab.training.stacking.functions import FUNCTIONS, method
from lab.training.stacking.layouts import Layout, NotStackable, Value, converter, fits, input_layout
from lab.training.stacking.modules import RULES
from lab.training.stacking.norms import fusible, norm_relu_dropout
from lab.training.stacking.operation import Lowered, Operation, Placeholder, Stack, Varying, contains, fill
from lab.training.stacking.reorder import RELUS, hooked, kind
from lab.training.stacking.shapes import reshape
from lab.training.stacking.tracing import results

_Step = tuple[Callable[..., Any], tuple[int, ...], int]
"""A function, the numbers of the values it takes, and the number of what it gives."""


class Program:
    """The stacked form of a model.

    Args:
        traced: a plain module's forward; its parameters and buffers are those that `stack` knows.
        example: a batch of its inputs [b, ...].

    Raises:
        NotStackable: some part has no stacked form; the message names it.
    """

    def __init__(self, stack: Stack, traced: fx.GraphModule, example: Tensor) -> None:
        self._stack = stack
        self._steps: list[_Step] = []
        self._constants: list[tuple[int, Any]] = []
        self._count = 0
        self._absorbed: set[fx.Node] = set()
        self._registers: dict[tuple[str, Layout], int] = {}
        self._values: dict[str, Value] = {}
        self._modules = dict(traced.named_modules())
        self._by_vmap: list[str] = []
        few = torch.arange(3) % len(example)
        self._plain_values = results(traced, example[few])
        others = results(traced, example[few[:2]])
        self._varying = {
            name for name, value in self._plain_values.items() if not contains(Tensor, value) and value != others[name]
        }
        for node in traced.graph.nodes:
            if node in self._absorbed:
                continue
            if node.op == "placeholder":
                self._input(node)
            elif node.op == "get_attr":
                self._attribute(node)
            elif node.op == "output":
                self._output_number = self._output(node, len(few))
            else:
                self._operation(node)
        del self._plain_values, self._modules
        x = example[few].expand(stack.width, *example[few].shape)
        try:
            vmapping.try_both_modes(stack, lambda: self.run(x))
        except NotStackable as error:
            without = f"no rule for {', '.join(self._by_vmap)}, and " if self._by_vmap else ""
            raise NotStackable(f"{without}{error}") from error

    @property
    def by_vmap(self) -> tuple[str, ...]:
        """The operations that have no rule of their own."""
        return tuple(self._by_vmap)

    def run(self, x: Tensor) -> Tensor:
        """Outputs [k, b, ...] for inputs [k, b, ...]."""
        values: list[Any] = [None] * self._count
        for number, constant in self._constants:
            values[number] = constant
        values[0] = x
        for function, sources, number in self._steps:
            values[number] = function(*[values[source] for source in sources])
        return values[self._output_number]  # type: ignore[no-any-return]

    def _new(self, name: str, layout: Layout) -> int:
        number = self._count
        self._count += 1
        self._registers[name, layout] = number
        return number

    def _in(self, name: str, layout: Layout) -> int:
        """The number of a value in a layout; converted where it does not lie so yet."""
        if (name, layout) not in self._registers:
            source = self._values[name].layout
            function = converter(source, layout, self._stack.width)
            origin = self._registers[name, source]
            self._steps.append((function, (origin,), self._new(name, layout)))
        return self._registers[name, layout]

    def _input(self, node: fx.Node) -> None:
        if self._values:
            raise NotStackable("several inputs")
        shape = tuple(self._plain_values[node.name].shape)
        self._values[node.name] = Value(Layout.SLOTS, shape)
        self._new(node.name, Layout.SLOTS)
        layout = input_layout(len(shape))
        self._in(node.name, layout)
        self._values[node.name] = Value(layout, shape)

    def _attribute(self, node: fx.Node) -> None:
        plain = self._modules[""]
        for part in str(node.target).split("."):
            plain = getattr(plain, part)
        if not isinstance(plain, Tensor):
            raise NotStackable(f"{node.target}: {type(plain).__name__} is neither parameter nor buffer")
        self._values[node.name] = Value(Layout.SLOTS, tuple(plain.shape))
        self._constants.append((self._new(node.name, Layout.SLOTS), self._stack.tensor(plain)))

    def _output(self, node: fx.Node, examples: int) -> int:
        source = node.args[0]
        shape = getattr(self._plain_values[source.name], "shape", ()) if isinstance(source, fx.Node) else ()
        if not isinstance(source, fx.Node) or not shape or shape[0] != examples:
            raise NotStackable("the output is not one tensor [n, ...]")
        return self._in(source.name, Layout.SLOTS)

    def _operation(self, node: fx.Node) -> None:
        result = self._plain_values[node.name]
        if not contains(Tensor, result):
            if node.name in self._varying:
                self._size(node)
            return  # other sizes and shapes are constants
        (source, *_) = node.all_input_nodes or [node]
        if node.target is operator.getitem and isinstance(self._plain_values[source.name], (tuple, list)):
            index = node.args[1]
            self._step(
                node.name, lambda parts: parts[index], (self._registers[source.name, Layout.SLOTS],), result.shape
            )
            return
        tensors, sizes, (args, kwargs) = self._arguments(node)
        module = self._modules[str(node.target)] if node.op == "call_module" else None
        operation = Operation(
            self._stack,
            str(node.target) if module is not None else node.name,
            _name(node, module),
            module,
            tuple(args),
            dict(kwargs),
            tuple(self._values[name] for name in tensors),
            tuple(result.shape) if isinstance(result, Tensor) else (),
        )
        if module is not None and hooked(module):
            raise operation.refuse("has forward hooks")
        followers = self._followers(node) if fusible(operation) else []
        name = followers[-1].name if followers else node.name
        lowered = self._lower(operation, node, followers)
        registers = tuple(self._in(tensor, layout) for tensor, layout in zip(tensors, lowered.wants, strict=True))
        registers += tuple(self._registers[size, Layout.SLOTS] for size in sizes)
        self._absorbed.update(followers)
        self._step(name, lowered.forward, registers, operation.shape, lowered.gives)

    def _lower(self, operation: Operation, node: fx.Node, followers: list[fx.Node]) -> Lowered:
        """By a rule, alone or together with what follows; else by vmap."""
        if followers:
            last = self._modules.get(str(followers[-1].target))
            return norm_relu_dropout(operation, str(followers[-1].target) if isinstance(last, nn.Dropout) else None)
        rule = RULES.get(type(operation.module)) if operation.module is not None else FUNCTIONS.get(node.target)
        varying = contains(Varying, (operation.args, operation.kwargs))
        if rule is not None and (rule is reshape or not varying):
            try:
                lowered = rule(operation)
                if fits(operation.shape, lowered.gives):
                    return (
                        replace(lowered, forward=_first(lowered.forward, len(operation.inputs))) if varying else lowered
                    )
            except NotStackable:
                pass  # this form of it has no rule
        self._by_vmap.append(operation.name if operation.module is None else f"{operation.name} ({operation.kind})")
        if operation.module is not None:
            return vmapping.vmapped(operation, None)
        return vmapping.vmapped(operation, node.target if callable(node.target) else method(str(node.target)))

    def _arguments(self, node: fx.Node) -> tuple[list[str], list[str], Any]:
        """The names of an operation's tensors and varying sizes, and its arguments with placeholders for them."""
        tensors, sizes = [], []
        for source in node.all_input_nodes:
            if isinstance(self._plain_values[source.name], Tensor):
                tensors.append(source.name)
            elif source.name in self._varying:
                sizes.append(source.name)
            elif contains(Tensor, self._plain_values[source.name]):
                raise NotStackable(f"{node.name}: {node.target} of several tensors in one")

        def placeholder(source: fx.Node) -> Any:
            if source.name in tensors:
                return Placeholder(tensors.index(source.name))
            if source.name in sizes:
                return Varying(len(tensors) + sizes.index(source.name))
            return self._plain_values[source.name]

        return tensors, sizes, fx.node.map_arg((node.args, node.kwargs), placeholder)

    def _size(self, node: fx.Node) -> None:
        """What follows from the number of examples is asked of the first slot's plain value."""
        tensors, sizes, (args, kwargs) = self._arguments(node)
        function: Any = node.target if callable(node.target) else method(str(node.target))
        count = len(tensors)

        def forward(*values: Any) -> Any:
            plain = [*(value[0] for value in values[:count]), *values[count:]]
            return function(*fill(args, plain), **fill(kwargs, plain))

        registers = [self._in(name, Layout.SLOTS) for name in tensors] + [
            self._registers[n, Layout.SLOTS] for n in sizes
        ]
        self._step(node.name, forward, tuple(registers), ())

    def _step(
        self,
        name: str,
        forward: Callable[..., Any],
        registers: tuple[int, ...],
        shape: tuple[int, ...],
        layout: Layout = Layout.SLOTS,
    ) -> None:
        self._values[name] = Value(layout, tuple(shape))
        self._steps.append((forward, registers, self._new(name, layout)))

    def _followers(self, node: fx.Node) -> list[fx.Node]:
        """A ReLU, and perhaps a dropout, that alone read what is before them."""
        nodes: list[fx.Node] = []
        for wanted in (RELUS, (nn.Dropout,)):
            if len(node.users) != 1:
                break
            (node,) = node.users
            if kind(node, self._modules) not in wanted or node.all_input_nodes != [*node.args]:
                break
            nodes.append(node)
        return nodes


def _name(node: fx.Node, module: nn.Module | None) -> str:
    if module is not None:
        return type(module).__name__
    return str(getattr(node.target, "__name__", node.target))


def _first(forward: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A step that reads its tensors alone, whatever sizes follow them."""
    return lambda *values: forward(*values[:count])
