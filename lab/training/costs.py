"""What a trial's model costs on any machine: its numbers, and the arithmetic of a forward pass."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lab.errors import TaskError
from lab.spec.limits import FLOPS, PARAMETERS, Limit, broken

_NOT_COMPARED = {"training", "_parameters", "_buffers", "_modules"}


class TooCostly(Exception):  # noqa: N818 - no error: the trial ends before it begins
    """A model that breaks a constraint by what was counted of it, so that it need not be trained."""

    def __init__(self, why: str, costs: Mapping[str, float]) -> None:
        super().__init__(why)
        self.costs = costs


class CostCounter:
    """Counts each architecture once.

    Args:
        examples: inputs [b, ...] as the model takes them, of which the first is counted for.
        limits: those that a model must meet; only the ones of costs are looked at.
    """

    def __init__(self, examples: Tensor, limits: Sequence[Limit] = ()) -> None:
        self._example = examples[:1].cpu()
        self._limits = tuple(limit for limit in limits if limit.is_of_cost)
        self._known: dict[str, tuple[dict[str, float], str]] = {}
        """By architecture."""

    def of(self, module: nn.Module) -> dict[str, float]:
        """`parameters` and, where they can be counted, `flops` of a model on the host.

        Raises:
            TooCostly: it breaks a limit.
            TaskError: a limit is of flops, and they cannot be counted.
        """
        architecture = _architecture(module)
        if architecture not in self._known:
            self._known[architecture] = counted(module, self._example)
        costs, why_not = self._known[architecture]
        if why_not and any(limit.name == FLOPS for limit in self._limits):
            raise TaskError(f"search.constraints.flops: they cannot be counted: {why_not}")
        if over := broken(self._limits, costs):
            raise TooCostly(over, costs)
        return costs


def counted(module: nn.Module, example: Tensor) -> tuple[dict[str, float], str]:
    """`parameters` and `flops` of a model, and why the latter are missing where they are.

    Parameters are trained and frozen ones, each once. Flops are those of matrix products, convolutions and attention in
    a forward pass of one example [1, ...], as `torch.utils.flop_counter` counts them: a multiplication with its
    addition is two.

    >>> counted(nn.Linear(3, 2), torch.zeros(1, 3))[0]
    {'parameters': 8.0, 'flops': 12.0}
    """
    costs = {PARAMETERS: float(sum(p.numel() for p in module.parameters()))}
    try:
        costs[FLOPS] = float(_flops(module, example))
    except Exception as error:  # a user's model may raise anything; training says what is wrong with it
        return costs, f"{type(error).__name__}: {' '.join(str(error).split())}"
    return costs, ""


def _architecture(module: nn.Module) -> str:
    """A digest of all that a forward pass may depend on but for weights and rates; what cannot be compared differs."""
    parts: list[Any] = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
    parts += [(name, tuple(b.shape)) for name, b in module.named_buffers()]
    for name, layer in module.named_modules():
        said = {key: value for key, value in vars(layer).items() if key not in _NOT_COMPARED}
        plain = {key: repr(value) for key, value in said.items() if not isinstance(value, (float, Tensor))}
        parts.append((name, type(layer).__module__, type(layer).__qualname__, sorted(plain.items())))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _flops(module: nn.Module, example: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # here: it takes a tenth of a second

    training = [layer.training for layer in module.modules()]
    module.eval()  # what normalises over a batch takes a single example, and keeps no statistics of it
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), _plain_operations():
            with FlopCounterMode(display=False) as counter:
                module(example)
            return int(counter.get_total_flops())
    finally:
        for layer, was in zip(module.modules(), training, strict=True):
            layer.training = was


@contextmanager
def _plain_operations() -> Iterator[None]:
    """Compute by operations that are counted: oneDNN's recurrent nets and attention in one piece count as nothing."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the switch sets others of devices that are not there
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
