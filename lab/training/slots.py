"""The models of a lane's slots, behind one face, whichever way they are computed.

Shapes: k slots, b examples, p parameters of one model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lab.training.noise import SlotNoise
from lab.training.stacking.layouts import NotStackable


class SlotModels(ABC):
    """k models, one per slot, whose parameters lie in one flat row each."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.training = True
        self.noise: list[SlotNoise | None] = [None] * width

    @abstractmethod
    def load(self, slot: int, module: nn.Module, seed: int) -> None:
        """Put a freshly built model into a slot; `seed` starts what is random in its forward pass."""

    def takes(self, module: nn.Module) -> bool:
        """Whether a model may be loaded; models that are computed together need one architecture."""
        return True

    def freeze(self, slot: int, names: frozenset[str]) -> None:
        """Compute no gradients of these parameters of a slot from now on, and hold the batch norms that they belong to
        in evaluation.

        Raises:
            NotStackable: models that are computed together cannot do that one by one.
        """
        if names:
            raise NotStackable("its schedule freezes parts of a model, which models that are stacked cannot do")

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
        """The slot's own parameters and buffers by the names its plain module has; see `own_tensors`."""

    def put(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        """Give a slot the parameters and buffers that `tensors` gave of it."""
        for name, tensor in self.tensors(slot).items():  # views
            tensor.copy_(tensors[name])

    def sizes(self, slot: int) -> Mapping[str, int] | None:
        """How many numbers of each parameter are in the slot's row; None: all."""
        return None

    def norm(self, grad: Tensor) -> Tensor:
        """The norm of a model's gradients, of which these [p] are in its row."""
        return torch.linalg.vector_norm(grad)  # type: ignore[no-any-return]

    def whole(self, part: Tensor, names: Sequence[str]) -> Tensor:
        """What belongs to these parameters as a whole, of a part that lies beside theirs of the row."""
        return part

    def share(self, whole: Tensor, names: Sequence[str]) -> Tensor:
        """The part of it that lies beside the row."""
        return whole

    def module(self, slot: int) -> nn.Module:
        """The slot's net itself.

        Raises:
            NotStackable: models that are computed together have none.
        """
        raise NotStackable("its layers cannot be looked at: on this path models are computed together")

    def random_state(self, slot: int) -> Tensor | None:
        """State of randomness beyond `noise`; None where there is none."""
        return None

    def seed(self, slot: int, seed: int) -> None:
        """Begin randomness beyond `noise` anew."""
        raise NotImplementedError(f"{type(self).__name__} has no random state of its own")

    def set_random_state(self, slot: int, state: Tensor) -> None:
        """Restore what `random_state` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no random state of its own")


def starts(sizes: Sequence[int]) -> list[int]:
    """Where parts of these sizes begin when they lie one after another."""
    return [sum(sizes[:i]) for i in range(len(sizes))]
