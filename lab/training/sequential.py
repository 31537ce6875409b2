"""Models one after the other: what any `nn.Module` allows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab.tasks.transfer.adapter import own_tensors
from lab.training.accelerator import own_random_state, random_state, set_random_state
from lab.training.noise import SlotNoise
from lab.training.slots import SlotModels, starts


class SequentialModels(SlotModels):
    """Each slot a plain module, run in turn; what is random in its forward has the slot's own generator state."""

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__(width)
        self._device = device
        self._modules: list[nn.Module | None] = [None] * width
        self._flat: list[tuple[Tensor, Tensor] | None] = [None] * width
        self._trained: list[frozenset[str]] = [frozenset()] * width
        self._still: list[tuple[nn.Module, ...]] = [()] * width
        """By slot, the modules that are in evaluation while it is trained."""
        self._random: list[Tensor] = [torch.empty(0, dtype=torch.uint8)] * width

    def load(self, slot: int, module: nn.Module, seed: int) -> None:
        module = module.to(self._device)
        trainable = [p for p in module.parameters() if p.requires_grad]
        self._trained[slot] = frozenset(name for name, p in module.named_parameters() if p.requires_grad)
        sizes = [p.numel() for p in trainable]
        row = torch.zeros(sum(sizes), dtype=trainable[0].dtype, device=self._device)
        grad = torch.zeros_like(row)
        for parameter, start in zip(trainable, starts(sizes), strict=True):
            part = slice(start, start + parameter.numel())
            weights = shaped(row[part], parameter.shape).copy_(parameter.detach())
            parameter.data, parameter.grad = weights, shaped(grad[part], parameter.shape)
        self._modules[slot], self._flat[slot], self._still[slot] = module, (row, grad), ()
        self.noise[slot] = SlotNoise(seed)
        self.seed(slot, seed)

    def freeze(self, slot: int, names: frozenset[str]) -> None:
        module, (_, grad) = self.module(slot), self._rows(slot)
        grad.zero_()  # of what is frozen nothing is left
        still = []
        for at, part in module.named_modules():
            own = {f"{at}.{name}" if at else name: p for name, p in part.named_parameters(recurse=False)}
            for name, parameter in own.items():
                parameter.requires_grad_(name in self._trained[slot] and name not in names)
            if isinstance(part, _BatchNorm) and own.keys() & names:
                still.append(part)
        self._still[slot] = tuple(still)

    def forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        outputs: dict[int, Tensor] = {}
        with own_random_state(self._device):
            for slot in active:
                module = self.module(slot)
                module.train(self.training)
                for part in self._still[slot]:
                    part.eval()
                set_random_state(self._device, self._random[slot])
                outputs[slot] = module(_channels_last(x[slot]))
                if self.training:
                    self._random[slot] = random_state(self._device)
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
        return {name: tensor.detach() for name, tensor in own_tensors(self.module(slot)).items()}

    def seed(self, slot: int, seed: int) -> None:
        with own_random_state(self._device):
            torch.manual_seed(seed)
            self._random[slot] = random_state(self._device)

    def random_state(self, slot: int) -> Tensor | None:
        return self._random[slot]

    def set_random_state(self, slot: int, state: Tensor) -> None:
        self._random[slot] = state

    def module(self, slot: int) -> nn.Module:
        module = self._modules[slot]
        assert module is not None  # the trainer loads a slot before it uses it
        return module

    def _rows(self, slot: int) -> tuple[Tensor, Tensor]:
        flat = self._flat[slot]
        assert flat is not None  # as above
        return flat


def shaped(flat: Tensor, shape: torch.Size) -> Tensor:
    """A view of part of a row as a parameter; a convolution's with its channels innermost, as its inputs have them."""
    if len(shape) != 4:
        return flat.view(shape)
    outputs, inputs, height, width = shape
    return flat.view(outputs, height, width, inputs).permute(0, 3, 1, 2)


def flattened(values: Tensor) -> Tensor:
    """What `shaped` makes a parameter's of."""
    return values.permute(0, 2, 3, 1).flatten() if values.ndim == 4 else values.flatten()


def _channels_last(x: Tensor) -> Tensor:
    """Images with their channels innermost, which convolutions run 1.2 to 1.3 times as fast on."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
