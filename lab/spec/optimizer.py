"""The options of optimizers that a spec may set or a space may search, with their limits. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lab.errors import SpecError, nearest
from lab.spec.space import Choice, Dimension, ends

OPTIMIZER = "optimizer"
"""The hyperparameter that chooses a trial's kind of optimizer."""


@dataclass(frozen=True)
class Options:
    """Options of every optimizer.

    Args:
        max_grad_norm: a longer gradient is first shortened to this Euclidean length (Pascanu et al. 2013, as
            `torch.nn.utils.clip_grad_norm_` does it); a trial's own, whoever trains beside it. None: never.
    """

    max_grad_norm: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        limit = self.max_grad_norm
        if limit is not None and (not _is_number(limit) or not 0 < limit < math.inf):
            raise SpecError("optimizer.max_grad_norm", f"{limit!r} is not a number above 0")


@dataclass(frozen=True)
class AdamWOptions(Options):
    """Options of Adam with decoupled weight decay. Defaults are the course's."""

    beta2: float = 0.99
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_number(self.beta2) or not 0 <= self.beta2 < 1:
            raise SpecError("optimizer.beta2", f"{self.beta2!r} is not a number in [0, 1)")
        if not _is_number(self.eps) or not 0 < self.eps < math.inf:  # without it a gradient of 0 gives 0 / 0
            raise SpecError("optimizer.eps", f"{self.eps!r} is not a number above 0")


@dataclass(frozen=True)
class SGDOptions(Options):
    """Options of stochastic gradient descent with momentum."""

    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.nesterov, bool):
            raise SpecError("optimizer.nesterov", f"{self.nesterov!r} is not true or false")


KINDS: Mapping[str, type[AdamWOptions] | type[SGDOptions]] = {"adamw": AdamWOptions, "sgd": SGDOptions}


def optimizer_options(spec: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Kind and options of a trial's optimizer: as the spec says, with the trial's parameters of such names instead.

    Where the trial chooses its kind, what the spec says of another kind is left out.

    Raises:
        SpecError: an unknown kind or option.
    """
    own = _checked_kind("optimizer.kind", spec.get("kind", "adamw"))
    kind = _checked_kind("optimizer.kind", params.get(OPTIMIZER, own))
    options = {name: value for name, value in spec.items() if name != "kind"}
    allowed = _names(*(KINDS if OPTIMIZER in params else (own,)))
    for name in options:
        if name not in allowed:
            raise SpecError(f"optimizer.{name}", f"is unknown{nearest(name, allowed)}; allowed: {', '.join(allowed)}")
    names = _names(kind)
    used = {name: value for name, value in options.items() if name in names}
    return kind, used | {name: params[name] for name in names if name in params}


def check_optimizer(spec: Mapping[str, Any], space: Mapping[str, Dimension]) -> None:
    """Refuse an optimizer that cannot be, as the spec gives it and at either end of what the space searches of it.

    Raises:
        SpecError: with the place in the spec.
    """
    kinds = _kinds_searched(space) or (_checked_kind("optimizer.kind", spec.get("kind", "adamw")),)
    for kind in kinds:
        _, options = optimizer_options(spec, {OPTIMIZER: kind} if OPTIMIZER in space else {})
        KINDS[kind](**options)
        for name in _names(kind):
            for value in ends(space[name]) if name in space else ():
                option: dict[str, Any] = {name: value}
                try:
                    KINDS[kind](**option)
                except SpecError as error:
                    raise SpecError(f"space.{name}", error.message) from None


def optimizer_names(spec: Mapping[str, Any], space: Mapping[str, Dimension]) -> tuple[str, ...]:
    """The hyperparameters that an optimizer takes from a trial.

    Raises:
        SpecError: an unknown kind.
    """
    kinds = _kinds_searched(space) or (_checked_kind("optimizer.kind", spec.get("kind", "adamw")),)
    return (OPTIMIZER, *_names(*kinds))


def _kinds_searched(space: Mapping[str, Dimension]) -> tuple[str, ...]:
    dimension = space.get(OPTIMIZER)
    if dimension is None:
        return ()
    if not isinstance(dimension, Choice):
        raise SpecError(f"space.{OPTIMIZER}", f"is a range; give a choice of {', '.join(KINDS)}")
    return tuple(_checked_kind(f"space.{OPTIMIZER}", option) for option in dimension.options)


def _checked_kind(path: str, kind: object) -> str:
    if not isinstance(kind, str) or kind not in KINDS:
        raise SpecError(path, f"{kind!r} is unknown{nearest(str(kind), KINDS)}; choices: {', '.join(KINDS)}")
    return kind


def _names(*kinds: str) -> list[str]:
    return sorted({option.name for kind in kinds for option in fields(KINDS[kind])})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
