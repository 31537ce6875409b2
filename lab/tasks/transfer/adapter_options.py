"""What a spec says of an adapter in a net that was trained before. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from lab.errors import SpecError, nearest
from lab.tasks.options import Allowed, Options, Range, number, option, whole

LORA = "lora"
KINDS = (LORA,)
ALL, ATTENTION = "all", "attention"
RANK, ALPHA = "rank", "alpha"
MADE_ONCE = "has no effect where task.train is 'head': features are made once"
"""Why nothing that changes examples or body has to do with a head that is trained alone."""

_WHERE = "task.adapter"
_RANK, _ALPHA = whole(1, 65536), number(0.001, 1e6)
SEARCHED: Mapping[str, Range] = MappingProxyType({RANK: _RANK.range, ALPHA: _ALPHA.range})
"""The hyperparameters that win over a plan's own values, and where theirs lie."""


@dataclass(frozen=True)
class AdapterPlan:
    """A low-rank adapter: to a layer's frozen weights W is added alpha / rank * B A, of which only B and A learn.

    Args:
        rank: of the product.
        alpha: by which it is scaled, so that one learning rate suits several ranks.
        targets: the layers that get one: `all`, those of `attention`, or names, each of which may be the end of a
            layer's whole name. None: as the task has it.

    Source: Hu et al. 2021, arXiv 2106.09685, section 4.1.

    >>> AdapterPlan.parse({"rank": 4}, ATTENTION)
    AdapterPlan(kind='lora', rank=4, alpha=16.0, targets='attention')
    """

    kind: str = LORA
    rank: int = 8
    alpha: float = 16.0
    targets: str | tuple[str, ...] = ALL

    @classmethod
    def parse(cls, value: object, targets: str) -> AdapterPlan:
        """A plan from a spec's value: a kind, or a mapping.

        Args:
            targets: those of a spec that names none.

        Raises:
            SpecError: unknown keys, impossible values.
        """
        entries = {"kind": value} if isinstance(value, str) else value
        if not isinstance(entries, Mapping):
            raise SpecError(_WHERE, f"{value!r} is neither a kind ({', '.join(KINDS)}) nor a mapping")
        names = [entry.name for entry in fields(cls)]
        for key in entries:
            if key not in names:
                raise SpecError(f"{_WHERE}.{key}", f"is unknown{nearest(str(key), names)}; allowed: {', '.join(names)}")
        said = {name: one for name, one in entries.items() if one is not None}
        kind = said.get("kind", LORA)
        if kind not in KINDS:
            raise SpecError(
                f"{_WHERE}.kind", f"{kind!r} is unknown{nearest(str(kind), KINDS)}; choices: {', '.join(KINDS)}"
            )
        for name, allowed in ((RANK, _RANK), (ALPHA, _ALPHA)):
            if name in said and not allowed.holds(said[name]):
                raise SpecError(f"{_WHERE}.{name}", f"{said[name]!r} {allowed.refusal}")
        return cls(**{**said, "targets": _targets(said.get("targets", targets))})


def _targets(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str) and value in (ALL, ATTENTION):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    raise SpecError(f"{_WHERE}.targets", f"{value!r} is neither {ALL}, {ATTENTION} nor a list of layers' names")


class Adapting(Options, kw_only=True):
    """Whether a net that was trained before learns by an adapter."""

    adapter: Any = option(
        "low-rank adapters in a net that was trained before, whose own weights then stay as they are: lora, or kind, "
        f"rank (8), alpha (16) and targets ({ALL}, {ATTENTION}, or a list of layers' names); {RANK} and {ALPHA} may be "
        "searched",
        Allowed("", lambda value: True),
        default=None,
    )

    def plan(self) -> AdapterPlan | None:
        """The adapter; None where there is none.

        Raises:
            SpecError: it is impossible.
        """
        return None if self.adapter is None else AdapterPlan.parse(self.adapter, self.adapter_targets())

    def adapter_targets(self) -> str:
        """The layers that get an adapter where a spec names none."""
        return ALL

    def no_adapter(self) -> str:
        """Why there can be no adapter; nothing where there can."""
        return ""

    @classmethod
    def reads(cls) -> dict[str, Range]:
        return {**super().reads(), **SEARCHED}

    def settled(self) -> dict[str, str]:
        without = {} if self.adapter is not None else dict.fromkeys(SEARCHED, f"is of an adapter: {_WHERE}: {LORA}")
        return {**super().settled(), **without}

    def check(self) -> None:
        super().check()
        if self.adapter is not None:
            self.plan()
            if why := self.no_adapter():
                raise SpecError(_WHERE, why)
