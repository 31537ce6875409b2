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
from lab.training.modes import in_evaluation

_NOT_COMPARED = {"training", "_parameters", "_buffers", "_modules"}


class TooCostly(Exception):  # noqa: N818 - no error: the trial ends before it begins
    """A model that breaks a constraint by what was counted of it, so that it need not be trained."""

    def __init__(self, why: str, costs: Mapping[str, float]) -> None:
        super().__init__(why)
        self.costs = costs


class CostCounter:
    """Counts what trials' models cost: their numbers always, flops where asked, once for each architecture.

    Args:
        examples: inputs [b, ...] as the model takes them, of which the first is counted for.
        limits: those that a model must meet; only the ones of costs are looked at.
        flops: whether flops are counted: the first time takes a process a second.
    """

    def __init__(self, examples: Tensor, limits: Sequence[Limit] = (), flops: bool = False) -> None:
        self._example = examples[:1].cpu()
        self._limits = tuple(limit for limit in limits if limit.is_of_cost)
        self._flops = flops
        self._flops_of: dict[str, float] = {}
        """Flops by architecture."""

    def of(self, module: nn.Module) -> dict[str, float]:
        """`parameters` and, where asked, `flops` of a model on the host.

        Raises:
            TooCostly: it breaks a limit.
            TaskError: flops cannot be counted.
        """
        costs = {PARAMETERS: float(parameters_of(module))}
        if self._flops:
            architecture = _architecture(module)
            if architecture not in self._flops_of:
                self._flops_of[architecture] = float(self._counted(module))
            costs[FLOPS] = self._flops_of[architecture]
        if over := broken(self._limits, costs):
            raise TooCostly(over, costs)
        return costs

    def _counted(self, module: nn.Module) -> int:
        try:
            return flops_of(module, self._example)
        except Exception as error:  # a user's model may raise anything
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise TaskError(f"flops of one example cannot be counted: {why}") from error


def parameters_of(module: nn.Module) -> int:
    """The numbers of a model that are trained and that are frozen, each once."""
    return sum(p.numel() for p in module.parameters())


def _architecture(module: nn.Module) -> str:
    """A digest of all that a forward pass may depend on but for weights and rates; what cannot be compared differs."""
    parts: list[Any] = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
    parts += [(name, tuple(b.shape)) for name, b in module.named_buffers()]
    for name, layer in module.named_modules():
        said = {key: value for key, value in vars(layer).items() if key not in _NOT_COMPARED}
        plain = {key: repr(value) for key, value in said.items() if not isinstance(value, (float, Tensor))}
        parts.append((name, type(layer).__module__, type(layer).__qualname__, sorted(plain.items())))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def flops_of(module: nn.Module, example: Tensor) -> int:
    """Flops of a forward pass of one example [1, ...]: those of matrix products, convolutions and attention, as
    `torch.utils.flop_counter` counts them. A multiplication with its addition is two.

    >>> flops_of(nn.Linear(3, 2), torch.zeros(1, 3))
    12
    """
    from torch.utils.flop_counter import FlopCounterMode

    # In evaluation: what normalises over a batch takes a single example, and keeps no statistics of it.
    with in_evaluation(module), torch.random.fork_rng(devices=[]), torch.no_grad(), _plain_operations():
        with FlopCounterMode(display=False) as counter:
            module(example)
        return int(counter.get_total_flops())


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
