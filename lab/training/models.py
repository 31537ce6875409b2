"""The models of a lane's slots, behind one face: stacked into one model, or one after the other.

Shapes: k slots, b examples, p parameters of one model.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from lab.training.layers import (
    ELEMENTWISE_FUNCTIONS,
    ELEMENTWISE_METHODS,
    RULES,
    Layout,
    NotStackable,
    flatten_image,
)
from lab.training.noise import SlotNoise


class SlotModels(ABC):
    """k models, one per slot, whose parameters lie in one flat row each."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.training = True
        self.noise: list[SlotNoise | None] = [None] * width

    @abstractmethod
    def load(self, slot: int, module: nn.Module, seed: int) -> None:
        """Put a freshly built model into a slot; `seed` starts what is random in its forward pass."""

    @abstractmethod
    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        """Outputs [k, b, ...] for inputs [k, b, ...]; rows of slots that are not active hold anything."""

    @abstractmethod
    def row(self, slot: int) -> Tensor:
        """The slot's parameters [p], to be updated in place."""

    @abstractmethod
    def grad(self, slot: int) -> Tensor:
        """The slot's gradients [p], as the last backward pass left them."""

    @abstractmethod
    def backward(self, loss: Tensor, active: Sequence[int]) -> None:
        """Gradients of a scalar that is the sum of the active slots' losses."""

    @abstractmethod
    def tensors(self, slot: int) -> dict[str, Tensor]:
        """The slot's parameters and buffers by the names its plain module has, as views."""

    def random_state(self, slot: int) -> Tensor | None:
        """State of randomness beyond `noise`; None where there is none."""
        return None

    def set_random_state(self, slot: int, state: Tensor) -> None:
        """Restore what `random_state` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no random state of its own")


class StackedModels(SlotModels):
    """All slots as one model: torch.fx rewrites a plain module into stacked operations.

    Raises:
        NotStackable: some part has no stacked form; the message names it.
    """

    def __init__(self, template: nn.Module, width: int, example_ndim: int, device: torch.device) -> None:
        super().__init__(width)
        self._template = template
        self._device = device
        first = next(iter(template.parameters()), None)
        dtype = first.dtype if first is not None else torch.float32
        parameters = dict(template.named_parameters())
        if any(not p.requires_grad or p.dtype != dtype for p in parameters.values()):
            raise NotStackable("frozen parameters, or parameters of several dtypes")
        sizes = [p.numel() for p in parameters.values()]
        self._rows = torch.zeros(width, sum(sizes), dtype=dtype, device=device)
        self._grads = torch.zeros_like(self._rows)
        self._views: dict[int, Tensor] = {}
        self._grad_views: list[Tensor] = []
        self._named: dict[str, Tensor] = {}
        for (name, parameter), start in zip(parameters.items(), _starts(sizes), strict=True):
            shape = (width, *parameter.shape)
            view = self._rows[:, start : start + parameter.numel()].view(shape).detach().requires_grad_()
            self._grad_views.append(self._grads[:, start : start + parameter.numel()].view(shape))
            self._views[id(parameter)] = view
            self._named[name] = view
        self._buffers = {
            name: torch.stack([buffer.detach().to(device)] * width) for name, buffer in template.named_buffers()
        }
        self._rates: dict[str, list[float]] = {}
        if example_ndim not in (1, 3):
            raise NotStackable(
                f"inputs of {example_ndim} dimensions an example; features (1) and images (3) are stacked"
            )
        self._structure = structure(template)
        self._program = _Program(self, template, Layout.FEATURES if example_ndim == 1 else Layout.IMAGE)
        self._image_input = example_ndim == 3

    # What the rules of `layers` ask for.

    def parameter(self, parameter: Tensor) -> Tensor:
        """The stacked form [k, ...] of one of the template's parameters."""
        return self._views[id(parameter)]

    def buffer(self, name: str) -> Tensor:
        """The stacked form [k, ...] of one of the template's buffers."""
        return self._buffers[name]

    def dropout_rates(self, name: str) -> list[float]:
        """The rate of each slot for the dropout layer `name`; filled by `load`."""
        return self._rates.setdefault(name, [0.0] * self.width)

    # SlotModels

    def load(self, slot: int, module: nn.Module, seed: int) -> None:
        if structure(module) != self._structure:
            raise NotStackable("hyperparameters change the architecture from trial to trial")
        for name, parameter in module.named_parameters():
            self._named[name].data[slot].copy_(parameter.detach())
        for name, buffer in module.named_buffers():
            self._buffers[name][slot].copy_(buffer)
        for name, rates in self._rates.items():
            rates[slot] = float(module.get_submodule(name).p)  # type: ignore[arg-type]
        self.noise[slot] = SlotNoise(seed)

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        if self._image_input:
            k, b, c, h, w = x.shape
            x = x.transpose(0, 1).reshape(b, k * c, h, w).contiguous(memory_format=torch.channels_last)
        else:
            x = x.transpose(1, 2)
        return self._program.run(x).transpose(1, 2)

    def row(self, slot: int) -> Tensor:
        return self._rows[slot]

    def grad(self, slot: int) -> Tensor:
        return self._grads[slot]

    def backward(self, loss: Tensor, active: Sequence[int]) -> None:
        found = torch.autograd.grad(loss, list(self._named.values()), allow_unused=True)
        for view, grad in zip(self._grad_views, found, strict=True):
            if grad is None:
                view.zero_()
            else:
                view.copy_(grad)

    def tensors(self, slot: int) -> dict[str, Tensor]:
        named = {name: view.detach()[slot] for name, view in self._named.items()}
        return named | {name: buffer[slot] for name, buffer in self._buffers.items()}


def _trace(module: nn.Module) -> fx.GraphModule:
    """The module's forward as a graph, if it is the same in training and in evaluation."""
    was_training, found = module.training, []
    try:
        for mode in (True, False):
            module.train(mode)
            found.append(fx.symbolic_trace(module))
    except Exception as error:  # a user's forward may raise anything when it is traced
        raise NotStackable(f"torch.fx cannot trace it ({type(error).__name__}: {error})") from error
    finally:
        module.train(was_training)
    if found[0].code != found[1].code:
        raise NotStackable("its forward differs between training and evaluation")
    return found[0]


class _Program:
    """A traced module as a list of stacked operations on named values."""

    def __init__(self, stack: StackedModels, template: nn.Module, layout: Layout) -> None:
        traced = _trace(template)
        self._steps: list[tuple[str, tuple[str, ...], Any]] = []
        layouts: dict[str, Layout] = {}
        modules = dict(traced.named_modules())
        for node in traced.graph.nodes:
            sources = tuple(a.name for a in node.all_input_nodes)
            if node.op == "placeholder":
                if layouts:
                    raise NotStackable("several inputs")
                layouts[node.name] = layout
                self._input = node.name
            elif node.op == "output":
                if len(sources) != 1 or layouts[sources[0]] is not Layout.FEATURES:
                    raise NotStackable("the output is not one tensor [n, c]")
                self._output = sources[0]
            else:
                forward, out = self._rule(stack, node, modules, [layouts[s] for s in sources])
                layouts[node.name] = out
                self._steps.append((node.name, sources, forward))

    @staticmethod
    def _rule(
        stack: StackedModels, node: fx.Node, modules: dict[str, nn.Module], layouts: list[Layout]
    ) -> tuple[Any, Layout]:
        if not layouts or len(set(layouts)) != 1:
            raise NotStackable(f"{node.name}: inputs of different layouts")
        layout = layouts[0]
        if node.op == "call_module":
            module = modules[str(node.target)]
            if module._forward_hooks or module._forward_pre_hooks:
                raise NotStackable(f"{node.target}: {type(module).__name__} with forward hooks")
            rule = RULES.get(type(module))
            if rule is None:
                raise NotStackable(f"{node.target}: no rule for {type(module).__name__}")
            return rule(stack, str(node.target), module, layout)
        binary = node.op == "call_function" and node.target in (operator.add, torch.add, operator.mul, torch.mul)
        if binary and len(node.all_input_nodes) == len(node.args) == 2 and not node.kwargs:
            return node.target, layout
        if node.op == "call_function" and node.target in ELEMENTWISE_FUNCTIONS and len(node.args) == 1:
            function: Any = node.target
            kwargs = dict(node.kwargs)
            return lambda x: function(x, **kwargs), layout
        if node.op == "call_method" and node.target in ELEMENTWISE_METHODS and len(node.args) == 1:
            name = str(node.target)
            return lambda x: getattr(x, name)(), layout
        is_flatten = node.target in (torch.flatten, "flatten")
        if is_flatten and tuple(node.args[1:]) in ((1,), (1, -1)) and not node.kwargs:
            return flatten_image(stack, layout)
        raise NotStackable(f"{node.name}: no rule for {node.op} of {node.target}")

    def run(self, x: Tensor) -> Tensor:
        values = {self._input: x}
        for name, sources, forward in self._steps:
            values[name] = forward(*(values[source] for source in sources))
        return values[self._output]


class SequentialModels(SlotModels):
    """Each slot a plain module, run in turn; what is random in its forward has the slot's own generator state."""

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__(width)
        self._device = device
        self._modules: list[nn.Module | None] = [None] * width
        self._flat: list[tuple[Tensor, Tensor] | None] = [None] * width
        self._random: list[Tensor] = [torch.empty(0, dtype=torch.uint8)] * width

    def load(self, slot: int, module: nn.Module, seed: int) -> None:
        module = module.to(self._device)
        trainable = [p for p in module.parameters() if p.requires_grad]
        sizes = [p.numel() for p in trainable]
        row = torch.zeros(sum(sizes), dtype=trainable[0].dtype, device=self._device)
        grad = torch.zeros_like(row)
        for parameter, start in zip(trainable, _starts(sizes), strict=True):
            part = slice(start, start + parameter.numel())
            row[part] = parameter.detach().flatten()
            parameter.data = row[part].view(parameter.shape)
            parameter.grad = grad[part].view(parameter.shape)
        self._modules[slot], self._flat[slot] = module, (row, grad)
        self.noise[slot] = SlotNoise(seed)
        with torch.random.fork_rng(devices=_cuda(self._device)):
            torch.manual_seed(seed)
            self._random[slot] = _get_random(self._device)

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        outputs: dict[int, Tensor] = {}
        with torch.random.fork_rng(devices=_cuda(self._device)):
            for slot in active:
                module = self._module(slot)
                module.train(self.training)
                _set_random(self._device, self._random[slot])
                outputs[slot] = module(x[slot])
                if self.training:
                    self._random[slot] = _get_random(self._device)
        blank = torch.zeros_like(outputs[active[0]])
        return torch.stack([outputs.get(slot, blank) for slot in range(self.width)])

    def row(self, slot: int) -> Tensor:
        return self._rows(slot)[0]

    def grad(self, slot: int) -> Tensor:
        return self._rows(slot)[1]

    def backward(self, loss: Tensor, active: Sequence[int]) -> None:
        for slot in active:
            self.grad(slot).zero_()
        torch.autograd.backward(loss)

    def tensors(self, slot: int) -> dict[str, Tensor]:
        module = self._module(slot)
        named: dict[str, Tensor] = {name: p.detach() for name, p in module.named_parameters()}
        return named | dict(module.named_buffers())

    def random_state(self, slot: int) -> Tensor | None:
        return self._random[slot]

    def set_random_state(self, slot: int, state: Tensor) -> None:
        self._random[slot] = state

    def _module(self, slot: int) -> nn.Module:
        module = self._modules[slot]
        assert module is not None  # the trainer loads a slot before it uses it
        return module

    def _rows(self, slot: int) -> tuple[Tensor, Tensor]:
        flat = self._flat[slot]
        assert flat is not None  # as above
        return flat


def structure(module: nn.Module) -> list[tuple[str, Any]]:
    """What must agree for two models to be stacked: layers and their settings (dropout rates aside), shapes, forward.

    Raises:
        NotStackable: its forward cannot be traced.
    """
    layers: list[tuple[str, Any]] = []
    for name, layer in module.named_modules():
        settings = "" if isinstance(layer, (nn.Dropout, nn.Dropout2d)) else layer.extra_repr()
        layers.append((name, (type(layer).__qualname__, settings)))
    shapes = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
    return [*layers, *shapes, ("forward", _trace(module).code)]


def _starts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _get_random(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def build_models(path: str, template: nn.Module, width: int, example_ndim: int, device: torch.device) -> SlotModels:
    """The models of a lane on a path: `stacked` or `sequential`."""
    if path == "stacked":
        return StackedModels(template, width, example_ndim, device)
    return SequentialModels(width, device)
