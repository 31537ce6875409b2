"""Optimizers over flat parameter rows: one row is one trial's parameters, with its own lr, momentum and weight decay.

The kernels are PyTorch's own fused ones, called per row: `torch.optim` would need a parameter group and its
bookkeeping per trial and step. They are private, so the version is pinned and the tests hold them against
`torch.optim` over many steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lab.errors import SpecError, nearest

State: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True)
class RowOptimizer(ABC):
    """Updates one flat row at a time; its state is a dict of tensors that the slot owns.

    Args:
        max_grad_norm: a longer gradient is first shortened to this Euclidean length (Pascanu et al. 2013, as
            `torch.nn.utils.clip_grad_norm_` does it); a trial's own, whoever trains beside it. None: never.
    """

    max_grad_norm: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        limit = self.max_grad_norm
        if limit is not None and (not _is_number(limit) or not 0 < limit < np.inf):
            raise SpecError("optimizer.max_grad_norm", f"{limit!r} is not a number above 0")

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


@dataclass(frozen=True)
class AdamW(RowOptimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); momentum is beta1. Defaults are the course's."""

    beta2: float = 0.99
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, high in (("beta2", self.beta2, 1.0), ("eps", self.eps, np.inf)):
            if not _is_number(value) or not 0 <= value < high:
                raise SpecError(f"optimizer.{name}", f"{value!r} is not a number in [0, {high:g})")

    def state(self, row: Tensor) -> State:
        step = torch.zeros((), dtype=torch.float32, device=row.device)
        return {"exp_avg": torch.zeros_like(row), "exp_avg_sq": torch.zeros_like(row), "step": step}

    def _kernel(self, row: Tensor, grad: Tensor, state: State, lr: float, momentum: float, decay: float) -> None:
        state["step"] += 1
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


@dataclass(frozen=True)
class SGD(RowOptimizer):
    """SGD with momentum; weight decay is added to the gradient, as `torch.optim.SGD` does."""

    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.nesterov, bool):
            raise SpecError("optimizer.nesterov", f"{self.nesterov!r} is not true or false")

    def state(self, row: Tensor) -> State:
        return {"momentum": torch.zeros_like(row), "step": torch.zeros((), dtype=torch.float32)}

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
            is_first_step=not bool(state["step"]),
        )
        state["step"] += 1


_KINDS: dict[str, type[AdamW] | type[SGD]] = {"adamw": AdamW, "sgd": SGD}


def build_optimizer(spec: Mapping[str, Any], params: Mapping[str, Any] = MappingProxyType({})) -> RowOptimizer:
    """The optimizer a spec names: `{kind: adamw, beta2: 0.99, eps: 1e-5}` or `{kind: sgd, nesterov: false}`, either
    with `max_grad_norm`. Trial parameters of such a name set it for the trial.

    Raises:
        SpecError: an unknown kind or option, or a value that the option does not take.
    """
    options = dict(spec)
    kind = options.pop("kind", "adamw")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SpecError("optimizer.kind", f"{kind!r} is unknown{nearest(str(kind), _KINDS)}; choices: adamw, sgd")
    allowed = sorted(option.name for option in fields(_KINDS[kind]))
    for name in options:
        if name not in allowed:
            raise SpecError(f"optimizer.{name}", f"is unknown{nearest(name, allowed)}; allowed: {', '.join(allowed)}")
    return _KINDS[kind](**options | {name: params[name] for name in allowed if name in params})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
