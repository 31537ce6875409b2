"""A module's forward as a graph, what each part of it gives, and whether two modules have the same."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.reorder import pool_before_relu


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # else arithmetic on buffers is done once, while tracing


@dataclass(frozen=True)
class Traced:
    """A module's forward as graphs: in training, and in evaluation; one and the same where they do not differ."""

    training: fx.GraphModule
    evaluation: fx.GraphModule


def trace(module: nn.Module) -> Traced:
    """The module's forward as graphs, reordered where that is cheaper.

    Raises:
        NotStackable: it cannot be traced.
    """
    was_training, graphs = module.training, []
    try:
        for mode in (True, False):
            module.train(mode)
            graph = _Tracer().trace(module)
            pool_before_relu(graph, dict(module.named_modules()))
            graphs.append(fx.GraphModule(module, graph))
    except Exception as error:  # a user's forward may raise anything when it is traced
        first = str(error).partition("\n")[0]
        raise NotStackable(f"torch.fx cannot trace it ({type(error).__name__}: {first})") from error
    finally:
        module.train(was_training)
    training, evaluation = graphs
    return Traced(training, training if training.code == evaluation.code else evaluation)


def results(traced: fx.GraphModule, example: Tensor) -> dict[str, Any]:
    """What each node gives for a batch of examples, in evaluation; the module stays as it is.

    Raises:
        NotStackable: it cannot run on them.
    """
    values: dict[str, Any] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            values[n.name] = super().run_node(n)
            return values[n.name]

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            Recorder(copy.deepcopy(traced).eval()).run(example)
    except Exception as error:  # as above
        first = str(error).partition("\n")[0]
        raise NotStackable(f"it does not run on its examples ({type(error).__name__}: {first})") from error
    return values


def parameter_uses(traced: fx.GraphModule) -> Counter[int]:
    """How often each parameter, by its id, is used in one forward pass."""
    modules, parameters = dict(traced.named_modules()), dict(traced.named_parameters(remove_duplicate=False))
    uses: Counter[int] = Counter()
    for node in traced.graph.nodes:
        if node.op == "call_module":
            uses.update(id(parameter) for parameter in modules[str(node.target)].parameters())
        elif node.op == "get_attr" and str(node.target) in parameters:
            uses[id(parameters[str(node.target)])] += 1
    return uses
