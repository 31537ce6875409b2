"""Holds the stacked form of a module against three plain ones, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab.training.stacking.model import StackedModels

SLOTS = 3
CPU = torch.device("cpu")


class Calls(nn.Module):
    """A module whose forward is a function of its input."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x) * self.scale


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().double()


def inputs(shape: tuple[int, ...], codes: int = 0) -> Tensor:
    """A batch for each slot, [k, b, ...]: numbers that no activation has a corner at, or codes below a bound."""
    generator = torch.Generator().manual_seed(0)
    if codes:
        return torch.randint(codes, (SLOTS, *shape), generator=generator)
    return torch.randn(SLOTS, *shape, generator=generator, dtype=torch.float64)


def stacked_of(build: Callable[[], nn.Module], x: Tensor) -> tuple[StackedModels, list[nn.Module]]:
    plain = [seeded(build, seed) for seed in range(SLOTS)]
    stacked = StackedModels(seeded(build, 9), SLOTS, x[0], CPU)
    for slot, module in enumerate(plain):
        stacked.load(slot, module, seed=slot)
    return stacked, plain


def check_alike(build: Callable[[], nn.Module], shape: tuple[int, ...], codes: int = 0) -> StackedModels:
    """Outputs in training and evaluation, buffers, and all gradients are those of the plain modules.

    Args:
        shape: of a plain batch [b, ...].
        codes: where inputs are whole numbers, one more than the largest.
    """
    x = inputs(shape, codes)
    stacked, plain = stacked_of(build, x)
    stacked.training = True
    output = stacked.forward(x, range(SLOTS))
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    stacked.backward((output * weights).sum(), range(SLOTS))
    for slot, module in enumerate(plain):
        expected = module.train()(x[slot])
        torch.testing.assert_close(output[slot], expected, rtol=1e-10, atol=1e-10)
        (expected * weights[slot]).sum().backward()
        trained = [p for p in module.parameters() if p.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        if grads:
            flat = torch.cat([grad.flatten() for grad in grads])
            torch.testing.assert_close(stacked.grad(slot), flat, rtol=1e-9, atol=1e-10)
        own = stacked.tensors(slot)
        for name, buffer in module.named_buffers():
            if not name.endswith("num_batches_tracked"):  # nothing reads it
                torch.testing.assert_close(own[name], buffer, rtol=1e-10, atol=1e-10)
    stacked.training = False
    with torch.no_grad():
        output = stacked.forward(x, range(SLOTS))
        for slot, module in enumerate(plain):
            torch.testing.assert_close(output[slot], module.eval()(x[slot]), rtol=1e-10, atol=1e-10)
    return stacked
