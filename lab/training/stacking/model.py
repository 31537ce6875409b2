"""All slots' models as one: torch.fx rewrites a plain module into stacked operations.

Shapes: k slots, b examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.training.stacking.dropping import call_rates
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.parameter_rows import OTHER_ARCHITECTURE, FlatModels
from lab.training.stacking.program import Program
from lab.training.stacking.structure import fingerprint, layer_rates, shapes, structure
from lab.training.stacking.tracing import parameter_uses, trace


class StackedModels(FlatModels):
    """All slots as one model.

    Args:
        template: any model of the task; its architecture is that of all.
        example: a few of the inputs [b, ...] that it will be given.

    Raises:
        NotStackable: some part has no stacked form; the message names it.
    """

    def __init__(self, template: nn.Module, width: int, example: Tensor, device: torch.device) -> None:
        super().__init__(template, width, device)
        self._trace(template, example)

    def _trace(self, template: nn.Module, example: Tensor) -> None:
        """Stack a module whose parameters and buffers are those of the template."""
        self._traced = trace(template)
        uses = parameter_uses(self._traced.training)
        self._direct = {plain: view for plain, view in self._grad_by_plain.items() if uses[plain] == 1}
        """Where layers may write gradients themselves: parameters that are used once."""
        self._template = template
        self._evaluation = self._program = Program(self, self._traced.training, example)
        if self._traced.evaluation is not self._traced.training:
            self._evaluation = Program(self, self._traced.evaluation, example)

    @property
    def by_vmap(self) -> tuple[str, ...]:
        """The operations without a rule of their own, which run under `torch.vmap`."""
        return self._program.by_vmap

    # What the rules ask for, see `operation.Stack`.

    def tensor(self, plain: Tensor) -> Tensor:
        if id(plain) not in self._by_plain:
            raise NotStackable(f"a tensor of shape {tuple(plain.shape)} is neither parameter nor buffer")
        return self._by_plain[id(plain)]

    def gradient(self, plain: Tensor) -> Tensor | None:
        return self._direct.get(id(plain))

    def dropout_rates(self, name: str) -> list[float]:
        return self._rates.setdefault(name, [0.0] * self.width)

    # SlotModels

    def _rates_of(self, module: nn.Module) -> dict[str, float]:
        traced = self._traced
        if fingerprint(module) != self._fingerprint:
            if shapes(module) != shapes(self._template):
                raise NotStackable(OTHER_ARCHITECTURE)
            traced = trace(module)
            if structure(module, traced) != structure(self._template, self._traced):
                raise NotStackable(OTHER_ARCHITECTURE)
        return layer_rates(module) | call_rates(traced.training)

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        return (self._program if self.training else self._evaluation).run(x)
