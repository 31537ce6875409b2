"""All slots' models as one: torch.fx rewrites a plain module into stacked operations.

Shapes: k slots, b examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.training.stacking.flat import FlatModels
from lab.training.stacking.layouts import NotStackable
from lab.training.stacking.program import Program
from lab.training.stacking.structure import structure
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
        traced = trace(template)
        uses = parameter_uses(traced)
        self._direct = {
            id(parameter): view
            for parameter, view in zip(template.parameters(), self._grad_views, strict=True)
            if uses[id(parameter)] == 1
        }
        """Where layers may write gradients themselves: parameters that are used once."""
        self._template = template
        self._program = Program(self, traced, example)

    @property
    def by_vmap(self) -> tuple[str, ...]:
        """The operations without a rule of their own, which run under `torch.vmap`."""
        return self._program.by_vmap

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

    def _same_forward(self, module: nn.Module) -> bool:
        return structure(module) == structure(self._template)

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        return self._program.run(x)
