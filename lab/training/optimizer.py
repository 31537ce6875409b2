"""Optimizers over flat parameter rows: one row is one trial's parameters, with its own lr, momentum and weight decay.

On a CPU the kernels are PyTorch's own fused ones, called per row; on a GPU, where every call is a launch, its `foreach`
ones, each for all rows at once. `torch.optim` would need a parameter group and its bookkeeping per trial and step. They
are private, so the version is pinned and the tests hold them against `torch.optim` over many steps.

Shapes: k rows, p parameters of one of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from lab.spec.optimizer import AdamWOptions, Options, SGDOptions, optimizer_options

State: TypeAlias = dict[str, Tensor]

_ONE = torch.ones((), dtype=torch.float32)
"""A number would be made a tensor first, which takes longer than adding it."""
_LARGEST = torch.finfo(torch.float32).max


class Step(NamedTuple):  # one is made per slot and optimizer step: a frozen dataclass takes three times as long
    """What one row [p] is updated by: its gradient [p], and what its schedule says at this step."""

    row: Tensor
    grad: Tensor
    state: State
    lr: float
    momentum: float
    weight_decay: float


class RowOptimizer(Options, ABC):
    """Updates flat rows in place; the state of each is a dict of tensors that its slot owns."""

    @abstractmethod
    def state(self, row: Tensor) -> State:
        """Fresh state for a row [p]."""

    @abstractmethod
    def _one(self, step: Step) -> None:
        """Update one row."""

    @classmethod
    @abstractmethod
    def _all(cls, optimizers: Sequence[Any], steps: Sequence[Step]) -> None:
        """Update k rows, each by its own optimizer of this kind, in a number of calls that does not depend on k."""

    def step(self, step: Step) -> None:
        """Update one row in place; clipping changes its gradient in place too."""
        clip(step.grad, self.max_grad_norm)
        self._one(step)


def step_all(optimizers: Sequence[RowOptimizer], steps: Sequence[Step]) -> None:
    """Update k rows, each by its own optimizer, as `RowOptimizer.step` does to within rounding, in few calls."""
    for optimizer, step in zip(optimizers, steps, strict=True):
        clip(step.grad, optimizer.max_grad_norm)
    kinds: list[type[RowOptimizer]] = list(dict.fromkeys(map(type, optimizers)))
    for kind in kinds:
        chosen = [i for i, optimizer in enumerate(optimizers) if type(optimizer) is kind]
        kind._all([optimizers[i] for i in chosen], [steps[i] for i in chosen])


def _finite(numbers: Iterable[float]) -> list[float]:
    """Numbers that float32 can hold: of a larger one the kernels refuse all rows, of the largest its own row breaks."""
    return [min(max(number, -_LARGEST), _LARGEST) for number in numbers]


def clip(grad: Tensor, max_norm: float | None, norm: Tensor | None = None) -> None:
    """Bring a gradient [p], in place, to at most a norm; `norm`: of all of it, where these are a part."""
    if max_norm is not None:
        grad.mul_((max_norm / ((grad.norm() if norm is None else norm) + 1e-6)).clamp_max(1.0))


class AdamW(RowOptimizer, AdamWOptions):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); momentum is beta1."""

    def state(self, row: Tensor) -> State:
        # On the host, also of a row on a GPU: a step asks for its number, which bfloat16 could count to 256 only.
        count = torch.zeros((), dtype=torch.float32, device="cpu")
        return {"exp_avg": torch.zeros_like(row), "exp_avg_sq": torch.zeros_like(row), "step": count}

    def _one(self, step: Step) -> None:
        state = step.state
        state["step"].add_(_ONE)
        torch._fused_adamw_(
            [step.row],
            [step.grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            lr=step.lr,
            beta1=step.momentum,
            beta2=self.beta2,
            weight_decay=step.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    @classmethod
    def _all(cls, optimizers: Sequence[AdamW], steps: Sequence[Step]) -> None:
        rows, grads = [step.row for step in steps], [step.grad for step in steps]
        means, squares = ([step.state[name] for step in steps] for name in ("exp_avg", "exp_avg_sq"))
        counts = [float(step.state["step"].add_(_ONE)) for step in steps]
        beta2s = [optimizer.beta2 for optimizer in optimizers]
        torch._foreach_mul_(rows, _finite(1 - step.lr * step.weight_decay for step in steps))
        torch._foreach_lerp_(means, grads, [1 - step.momentum for step in steps])
        torch._foreach_mul_(squares, beta2s)
        torch._foreach_addcmul_(squares, grads, grads, [1 - beta2 for beta2 in beta2s])
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [math.sqrt(1 - b**n) for b, n in zip(beta2s, counts, strict=True)])
        torch._foreach_add_(roots, [optimizer.eps for optimizer in optimizers])
        rates = (-step.lr / (1 - step.momentum**n) for step, n in zip(steps, counts, strict=True))
        torch._foreach_addcdiv_(rows, means, roots, _finite(rates))


class SGD(RowOptimizer, SGDOptions):
    """SGD with momentum; weight decay is added to the gradient, as `torch.optim.SGD` does."""

    def state(self, row: Tensor) -> State:
        return {"momentum": torch.zeros_like(row)}

    def _one(self, step: Step) -> None:
        if step.row.dtype in (torch.float16, torch.bfloat16):  # the fused kernel loses momentum there (torch 2.13)
            self._all([self], [step])
            return
        torch._fused_sgd_(
            [step.row],
            [step.grad],
            [step.state["momentum"]] if step.momentum > 0 else [],  # the kernel refuses a buffer it has no use for
            weight_decay=step.weight_decay,
            momentum=step.momentum,
            lr=step.lr,
            dampening=0.0,
            nesterov=self.nesterov and step.momentum > 0,
            maximize=False,
            is_first_step=False,  # it would copy the gradient; added to zeros it is the same
        )

    @classmethod
    def _all(cls, optimizers: Sequence[SGD], steps: Sequence[Step]) -> None:
        rows, ways = [step.row for step in steps], [step.grad for step in steps]
        decayed = [i for i, step in enumerate(steps) if step.weight_decay]  # a weight of -inf times 0 is no number
        if decayed:
            pulls = torch._foreach_mul([rows[i] for i in decayed], [steps[i].weight_decay for i in decayed])
            torch._foreach_add_(pulls, [ways[i] for i in decayed])
            for i, pull in zip(decayed, pulls, strict=True):
                ways[i] = pull
        moved = [i for i, step in enumerate(steps) if step.momentum > 0]
        if moved:
            momenta, buffers = [steps[i].momentum for i in moved], [steps[i].state["momentum"] for i in moved]
            torch._foreach_mul_(buffers, momenta)
            torch._foreach_add_(buffers, [ways[i] for i in moved])
            ahead = torch._foreach_mul(buffers, momenta)
            torch._foreach_add_(ahead, [ways[i] for i in moved])
            for i, buffer, further in zip(moved, buffers, ahead, strict=True):
                ways[i] = further if optimizers[i].nesterov else buffer
        torch._foreach_add_(rows, torch._foreach_mul(ways, _finite(-step.lr for step in steps)))


_KINDS: dict[str, type[AdamW] | type[SGD]] = {"adamw": AdamW, "sgd": SGD}


def build_optimizer(spec: Mapping[str, Any], params: Mapping[str, Any] = MappingProxyType({})) -> RowOptimizer:
    """The optimizer a spec names: `{kind: adamw, beta2: 0.99, eps: 1e-5}` or `{kind: sgd, nesterov: false}`, either
    with `max_grad_norm`. Trial parameters of such a name set it for the trial; `optimizer` sets its kind.

    Trials of different kinds may sit in one stacked model: it gives the gradients of all, and each row has its own
    update.

    Raises:
        SpecError: an unknown kind or option, or a value that the option does not take.
    """
    kind, options = optimizer_options(spec, params)
    return _KINDS[kind](**options)
