"""A traced module as a list of stacked operations on numbered values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from lab.training.stacking.functions import FUNCTIONS, flatten
from lab.training.stacking.layouts import Layout, NotStackable, Value, converter, fits, input_layout
from lab.training.stacking.modules import RULES, fusible, norm_relu_dropout
from lab.training.stacking.site import VARYING, Hole, Rule, Site, Stack, contains
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
        self._places: dict[tuple[str, Layout], int] = {}
        self._values: dict[str, Value] = {}
        self._modules = dict(traced.named_modules())
        few = torch.arange(3) % len(example)
        self._found = results(traced, example[few])
        for name, other in results(traced, example[few[:2]]).items():
            if not contains(Tensor, other) and other != self._found[name]:
                self._found[name] = VARYING
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
        del self._found, self._modules

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
        self._places[name, layout] = number
        return number

    def _in(self, name: str, layout: Layout) -> int:
        """The number of a value in a layout; converted where it does not lie so yet."""
        if (name, layout) not in self._places:
            source = self._values[name].layout
            function = converter(source, layout, self._stack.width)
            origin = self._places[name, source]
            self._steps.append((function, (origin,), self._new(name, layout)))
        return self._places[name, layout]

    def _input(self, node: fx.Node) -> None:
        if self._values:
            raise NotStackable("several inputs")
        shape = tuple(self._found[node.name].shape)
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
        shape = getattr(self._found[source.name], "shape", ()) if isinstance(source, fx.Node) else ()
        if not isinstance(source, fx.Node) or not shape or shape[0] != examples:
            raise NotStackable("the output is not one tensor [n, ...]")
        return self._in(source.name, Layout.SLOTS)

    def _operation(self, node: fx.Node) -> None:
        result = self._found[node.name]
        if not isinstance(result, Tensor):
            return  # sizes and shapes, of which the rules know what they need
        names: list[str] = []

        def hole(source: fx.Node) -> Any:
            if not isinstance(self._found[source.name], Tensor):
                return self._found[source.name]
            if source.name not in names:
                names.append(source.name)
            return Hole(names.index(source.name))

        args, kwargs = fx.node.map_arg((node.args, node.kwargs), hole)
        module = self._modules[str(node.target)] if node.op == "call_module" else None
        site = Site(
            self._stack,
            str(node.target) if module is not None else node.name,
            _name(node, module),
            module,
            tuple(args),
            dict(kwargs),
            tuple(self._values[name] for name in names),
            tuple(result.shape),
        )
        rule = _rule(site, node)
        if rule is not flatten and contains(VARYING, (site.args, site.kwargs)):
            raise site.refuse("with the number of examples among its arguments")
        followers = self._followers(node) if fusible(site) else []
        if followers:
            last = self._modules.get(str(followers[-1].target))
            built = norm_relu_dropout(site, str(followers[-1].target) if isinstance(last, nn.Dropout) else None)
        else:
            built = rule(site)
        if not fits(site.shape, built.gives):
            raise site.refuse(f"gives {len(site.shape)} dimensions, examples included")
        sources = tuple(self._in(name, layout) for name, layout in zip(names, built.wants, strict=True))
        self._absorbed.update(followers)
        name = followers[-1].name if followers else node.name
        self._values[name] = Value(built.gives, site.shape)
        self._steps.append((built.forward, sources, self._new(name, built.gives)))

    def _followers(self, node: fx.Node) -> list[fx.Node]:
        """A ReLU, and perhaps a dropout, that alone read what is before them."""
        found: list[fx.Node] = []
        for wanted in ((nn.ReLU, F.relu, torch.relu, "relu"), (nn.Dropout,)):
            users = list(node.users)
            if len(users) != 1:
                break
            node = users[0]
            module = self._modules.get(str(node.target)) if node.op == "call_module" else None
            if (node.target if module is None else type(module)) not in wanted or node.all_input_nodes != [*node.args]:
                break
            if module is not None and (module._forward_hooks or module._forward_pre_hooks):
                break
            found.append(node)
        return found


def _name(node: fx.Node, module: nn.Module | None) -> str:
    if module is not None:
        return type(module).__name__
    return str(getattr(node.target, "__name__", node.target))


def _rule(site: Site, node: fx.Node) -> Rule:
    module = site.module
    if module is not None:
        if module._forward_hooks or module._forward_pre_hooks:
            raise NotStackable(f"{site.name}: {site.operation} with forward hooks")
        rule = RULES.get(type(module))
    else:
        rule = FUNCTIONS.get(node.target)
    if rule is None:
        raise NotStackable(f"{site.name}: no rule for {site.operation}")
    return rule
