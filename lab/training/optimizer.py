"""Optimizers over flat parameter rows: one row is one trial's parameters, with its own lr, momentum and weight decay.

The kernels are PyTorch's own fused ones, called per row: `torch.optim` would need a parameter group and its
bookkeeping per trial and step. They are private, so the version is pinned and the tests hold them against
`torch.optim` over many steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lab.training.options import AdamWOptions, Options, SGDOptions, optimizer_options

State: TypeAlias = dict[str, Tensor]

_ONE = torch.ones(())
"""A number would be made a tensor first, which takes longer than adding it."""


class RowOptimizer(Options, ABC):
    """Updates one flat row at a time; its state is a dict of tensors that the slot owns."""

    @abstractmethod
    def state(self, row: Tensor) -> State:
        """Fresh state for a row [p]."""

    @abstractmethod
    def _kernel(self, row: Tensor, grad: Tensor, state: State, lr: float, momentum: float, decay: float) -> None:
        """One update in place of a row [p] by a gradient [p] of any length."""

    def step(self, row: Tensor, grad: Tensor, state: State, lr: float, momentum: float, weight_decay: float) -> None:
        """One update in place of a row [p] by its gradient [p], which clipping changes in place too."""
        if self.max_grad_norm is not None:
            grad.mul_((self.max_grad_norm / (grad.norm() + 1e-6)).clamp_max(1.0))
        self._kernel(row, grad, state, lr, momentum, weight_decay)


class AdamW(RowOptimizer, AdamWOptions):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); momentum is beta1."""

    def state(self, row: Tensor) -> State:
        step = torch.zeros((), dtype=torch.float32, device=row.device)
        return {"exp_avg": torch.zeros_like(row), "exp_avg_sq": torch.zeros_like(row), "step": step}

    def _kernel(self, row: Tensor, grad: Tensor, state: State, lr: float, momentum: float, decay: float) -> None:
        state["step"].add_(_ONE)
        torch._fused_adamw_(
            [row],
            [grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            lr=lr,
            beta1=momentum,
            beta2=self.beta2,
            weight_decay=decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


class SGD(RowOptimizer, SGDOptions):
    """SGD with momentum; weight decay is added to the gradient, as `torch.optim.SGD` does."""

    def state(self, row: Tensor) -> State:
        return {"momentum": torch.zeros_like(row)}

    def _kernel(self, row: Tensor, grad: Tensor, state: State, lr: float, momentum: float, decay: float) -> None:
        torch._fused_sgd_(
            [row],
            [grad],
            [state["momentum"]] if momentum > 0 else [],  # the kernel refuses a buffer that it has no use for
            weight_decay=decay,
            momentum=momentum,
            lr=lr,
            dampening=0.0,
            nesterov=self.nesterov and momentum > 0,
            maximize=False,
            is_first_step=False,  # it would copy the gradient; added to zeros it is the same
        )


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
