"""Slots whose models are computed together: parameters and gradients in one flat row each, buffers stacked.

Shapes: k slots, p parameters of one model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.tasks.transfer.adapter import own_tensors
from lab.training.noise import SlotNoise
from lab.training.slots import SlotModels, starts
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.structure import fingerprint, layer_rates

OTHER_ARCHITECTURE = "hyperparameters change the architecture from trial to trial"


class FlatModels(SlotModels):
    """The storage of models that are computed together.

    Args:
        template: any model of the task; its architecture is that of all.

    Raises:
        NotStackable: parameters of several dtypes.
    """

    def __init__(self, template: nn.Module, width: int, device: torch.device) -> None:
        super().__init__(width)
        parameters = {name: p for name, p in template.named_parameters() if p.requires_grad}
        dtypes = {p.dtype for p in parameters.values()}
        if len(dtypes) > 1:
            raise NotStackable("parameters of several dtypes")
        sizes = [p.numel() for p in parameters.values()]
        dtype = dtypes.pop() if dtypes else torch.float32
        rows = torch.zeros(width, sum(sizes), dtype=dtype, device=device)
        grads = torch.zeros_like(rows)
        self._rows, self._grads = rows.unbind(), grads.unbind()
        self._by_plain: dict[int, Tensor] = {}
        self._grad_by_plain: dict[int, Tensor] = {}
        self._named: dict[str, Tensor] = {}
        for (name, parameter), start in zip(parameters.items(), starts(sizes), strict=True):
            shape, part = (width, *parameter.shape), slice(start, start + parameter.numel())
            view = rows[:, part].view(shape).detach().requires_grad_()
            self._grad_by_plain[id(parameter)] = grads[:, part].view(shape)
            self._by_plain[id(parameter)] = view
            self._named[name] = view
        self._buffers: dict[str, Tensor] = {}
        """What is not trained: buffers and frozen parameters."""
        for name, buffer in self._untrained(template):
            self._buffers[name] = torch.stack([buffer.detach().to(device)] * width)
        for name, plain in [*template.named_parameters(), *template.named_buffers()]:
            if name in self._buffers:
                self._by_plain[id(plain)] = self._buffers[name]
        self._rates: dict[str, list[float]] = {}
        self._fingerprint = fingerprint(template)

    def takes(self, module: nn.Module) -> bool:
        try:
            self._rates_of(module)
        except NotStackable:
            return False
        return True

    def load(self, slot: int, module: nn.Module, seed: int) -> None:
        new_rates = self._rates_of(module)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                self._named[name].data[slot].copy_(parameter.detach())
        for name, buffer in self._untrained(module):
            self._buffers[name][slot].copy_(buffer)
        for name, rates in self._rates.items():
            rates[slot] = new_rates[name]
        self.noise[slot] = SlotNoise(seed)

    def keep_all(self) -> None:
        """Drop nothing from here on, whatever the rates of dropout that have been loaded."""
        for rates in self._rates.values():
            rates[:] = [0.0] * self.width

    def _rates_of(self, module: nn.Module) -> dict[str, float]:
        """The dropout rates of a model about to be loaded, by the names in `_rates`.

        Raises:
            NotStackable: it has another architecture than the template.
        """
        if fingerprint(module) != self._fingerprint:
            raise NotStackable(OTHER_ARCHITECTURE)
        return layer_rates(module)

    @staticmethod
    def _untrained(module: nn.Module) -> list[tuple[str, Tensor]]:
        return [(name, tensor) for name, tensor in own_tensors(module).items() if not tensor.requires_grad]

    def row(self, slot: int) -> Tensor:
        return self._rows[slot]

    def grad(self, slot: int) -> Tensor:
        return self._grads[slot]

    def backward(self, loss: Tensor, active: Sequence[int]) -> None:
        try:
            torch.autograd.backward(loss)
        except BaseException:
            for parameter in self._named.values():
                parameter.grad = None  # the next would be added to it
            raise
        for parameter, view in zip(self._named.values(), self._grad_by_plain.values(), strict=True):
            if parameter.grad is not None:  # else written by the layer itself, or not used
                view.copy_(parameter.grad)
                parameter.grad = None

    def tensors(self, slot: int) -> dict[str, Tensor]:
        named = {name: view.detach()[slot] for name, view in self._named.items()}
        return named | {name: buffer[slot] for name, buffer in self._buffers.items()}
