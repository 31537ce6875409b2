"""What a plot or an optimizer needs of a schedule: its curves, and no more, so that neither has to import schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from lab.schedules.curves import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd


class Curves(NamedTuple):
    """What a schedule says, one value per asked step.

    >>> Constant(max_lr=1).curves(None, total=2)
    Curves(lr=array([1., 1.]), momentum=array([0.9, 0.9]), weight_decay=array([0.01, 0.01]))
    """

    lr: Floats
    momentum: Floats
    weight_decay: Floats


class CurveSource(Protocol):
    """A schedule as its plot and its PyTorch form see it; see `lab.schedules.base.Schedule`."""

    kind: ClassVar[str]

    def curves(self, steps: Ints | Sequence[int] | None, total: int) -> Curves: ...

    def group_factors(self, groups: int, steps: Ints | Sequence[int] | None, total: int) -> Floats: ...

    def cycle_ends(self, total: int) -> tuple[int, ...]: ...

    def table(self, total: int) -> pd.DataFrame: ...

    def to_dict(self) -> dict[str, Any]: ...
