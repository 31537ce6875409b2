"""Gradients of a batch of every slot, in parts where a whole batch is larger than the memory.

Shapes: k slots, b examples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lab.tasks.task import Task
from lab.training.device import to_device
from lab.training.loss import isolated_losses
from lab.training.slots import SlotModels


@dataclass(frozen=True)
class Learned:
    """What a batch gave."""

    losses: Tensor
    """The mean of each slot [k]."""
    raised: Mapping[int, tuple[Exception, Tensor]] = field(default_factory=dict)
    """By slot, what its own loss raised, and the outputs of which; it has no gradients."""


class Gradients:
    """Leaves the gradients of slots' mean losses in their models.

    Args:
        at_once: examples of a batch that are computed together; gradients of the parts add up to those of the batch, as
            long as the model treats each example by itself, which batch norm does not.
    """

    def __init__(self, task: Task, models: SlotModels, at_once: int, device: torch.device) -> None:
        self._task, self._models, self._at_once, self._device = task, models, at_once, device
        self._chosen: tuple[tuple[int, ...], Tensor] | None = None

    def of(self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, active: Sequence[int]) -> Learned:
        """Inputs [k, b, ...] and targets [k, b, ...] of one step of the active slots."""
        if x.shape[1] <= self._at_once:
            return self._of_part(forward, x, y, active)
        means: list[Tensor] = []
        sums = {slot: torch.zeros_like(self._models.grad(slot)) for slot in active}
        raised: dict[int, tuple[Exception, Tensor]] = {}
        for part, target in zip(*(torch.split(t, self._at_once, dim=1) for t in (x, y)), strict=True):
            share = part.shape[1] / x.shape[1]
            learned = self._of_part(forward, part, target, [slot for slot in active if slot not in raised])
            raised |= learned.raised
            means.append(share * learned.losses)
            if len(raised) == len(active):
                break
            for slot in sums.keys() - raised.keys():
                sums[slot].add_(self._models.grad(slot), alpha=share)
        for slot in sums.keys() - raised.keys():
            self._models.grad(slot).copy_(sums[slot])
        return Learned(torch.stack(means).sum(dim=0), raised)

    def _of_part(self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, active: Sequence[int]) -> Learned:
        output = forward(x)
        losses, errors = isolated_losses(self._task, output, y, active)
        raised = {slot: (error, output[slot].detach()) for slot, error in errors.items()}
        going = [slot for slot in active if slot not in raised] if raised else active
        if going:
            chosen = losses if len(going) == len(losses) else losses[self._index(going)]
            self._models.backward(chosen.sum(), going)
        return Learned(losses.detach(), raised)

    def _index(self, slots: Sequence[int]) -> Tensor:
        """The slots on their device, made once: a GPU would wait for a list at every step."""
        if self._chosen is None or self._chosen[0] != tuple(slots):
            self._chosen = tuple(slots), to_device(torch.tensor(slots), self._device)
        return self._chosen[1]
