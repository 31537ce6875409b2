"""All slots' models as one: torch.fx rewrites a plain module into stacked operations.

Shapes: k slots, b examples, p parameters of one model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.training.noise import SlotNoise
from lab.training.slots import SlotModels, starts
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.program import Program
from lab.training.stacking.tracing import parameter_uses, structure, trace


class StackedModels(SlotModels):
    """All slots as one model.

    Args:
        template: any model of the task; its architecture is that of all.
        example: a few of the inputs [b, ...] that it will be given.

    Raises:
        NotStackable: some part has no stacked form; the message names it.
    """

    def __init__(self, template: nn.Module, width: int, example: Tensor, device: torch.device) -> None:
        super().__init__(width)
        first = next(iter(template.parameters()), None)
        dtype = first.dtype if first is not None else torch.float32
        parameters = dict(template.named_parameters())
        if any(not p.requires_grad or p.dtype != dtype for p in parameters.values()):
            raise NotStackable("frozen parameters, or parameters of several dtypes")
        sizes = [p.numel() for p in parameters.values()]
        self._rows = torch.zeros(width, sum(sizes), dtype=dtype, device=device)
        self._grads = torch.zeros_like(self._rows)
        self._row_views, self._row_grads = self._rows.unbind(), self._grads.unbind()
        self._by_plain: dict[int, Tensor] = {}
        self._grad_views: list[Tensor] = []
        self._named: dict[str, Tensor] = {}
        for (name, parameter), start in zip(parameters.items(), starts(sizes), strict=True):
            shape = (width, *parameter.shape)
            view = self._rows[:, start : start + parameter.numel()].view(shape).detach().requires_grad_()
            self._grad_views.append(self._grads[:, start : start + parameter.numel()].view(shape))
            self._by_plain[id(parameter)] = view
            self._named[name] = view
        self._buffers: dict[str, Tensor] = {}
        for name, buffer in template.named_buffers():
            self._buffers[name] = torch.stack([buffer.detach().to(device)] * width)
            self._by_plain[id(buffer)] = self._buffers[name]
        self._rates: dict[str, list[float]] = {}
        self._structure = structure(template)
        traced = trace(template)
        uses = parameter_uses(traced)
        self._direct = {
            id(parameter): view
            for parameter, view in zip(parameters.values(), self._grad_views, strict=True)
            if uses[id(parameter)] == 1
        }
        """Where layers may write gradients themselves: parameters that are used once."""
        self._program = Program(self, traced, example)

    # What the rules ask for, see `site.Stack`.

    def tensor(self, plain: Tensor) -> Tensor:
        if id(plain) not in self._by_plain:
            raise NotStackable(f"a tensor of shape {tuple(plain.shape)} is neither parameter nor buffer")
        return self._by_plain[id(plain)]

    def gradient(self, plain: Tensor) -> Tensor | None:
        return self._direct.get(id(plain))

    def dropout_rates(self, name: str) -> list[float]:
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
        return self._program.run(x)

    def row(self, slot: int) -> Tensor:
        return self._row_views[slot]

    def grad(self, slot: int) -> Tensor:
        return self._row_grads[slot]

    def backward(self, loss: Tensor, active: Sequence[int]) -> None:
        torch.autograd.backward(loss)
        for parameter, view in zip(self._named.values(), self._grad_views, strict=True):
            if parameter.grad is not None:  # else written by the layer itself, or not used
                view.copy_(parameter.grad)
                parameter.grad = None

    def tensors(self, slot: int) -> dict[str, Tensor]:
        named = {name: view.detach()[slot] for name, view in self._named.items()}
        return named | {name: buffer[slot] for name, buffer in self._buffers.items()}
