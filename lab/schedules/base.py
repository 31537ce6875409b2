"""What every schedule is: a frozen value that gives lr, momentum and weight decay for (step, total)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from html import escape
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, nearest
from lab.schedules.curve_source import Curves
from lab.schedules.curves import Floats, Ints
from lab.schedules.fields import coerce, hints
from lab.schedules.groups import discriminative

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure
    from torch.optim import Optimizer

    from lab.schedules.torch_face import ScheduleLR


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A curve of lr, momentum (SGD's momentum, or Adam's beta1) and weight decay over optimizer steps.

    Steps are integers, 0 <= step < total, and values are float64 that depend on (step, total) alone. The first
    step has the starting value and the last step the final value, exactly; the single step of `total == 1` has
    the starting value.

    >>> schedule = OneCycle(max_lr=0.1)
    >>> schedule.curves([0, 25, 99], total=100).lr.round(4).tolist()
    [0.004, 0.1, 0.0]
    >>> parse_schedule(schedule.to_dict()) == schedule
    True
    """

    kind: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Named sets of constants: `preset: NAME` in a spec stands for these fields."""
    freezes: ClassVar[bool] = False
    """Whether parameter groups may be frozen for some of the steps."""
    lr_divisor: float | None = None
    """What each parameter group's lr is its successor's divided by, where a task has groups; None: nothing, unless a
    kind says otherwise. Howard & Ruder 2018 (arXiv 1801.06146), section 3.2, take 2.6."""

    def __post_init__(self) -> None:
        for field in fields(self):
            path = f"schedule.{field.name}"
            value = coerce(path, getattr(self, field.name), hints(type(self))[field.name])
            object.__setattr__(self, field.name, value)
        if self.lr_divisor is not None:
            at_least(self, "lr_divisor", 1)
        self.check()

    def check(self) -> None:  # noqa: B027 - optional: a schedule without further conditions has nothing to check
        """Refuse impossible values (`SpecError`)."""

    @classmethod
    def preset(cls, name: str, **values: Any) -> Self:
        """A schedule with the constants of a preset, except for `values`.

        Raises:
            SpecError: the kind has no such preset, or a value is impossible.
        """
        return cls(**{**preset_fields(cls, name), **values})

    def check_length(self, total: int) -> None:  # noqa: B027 - optional, like check
        """Refuse a run of `total` (>= 1) steps that is too short for the phases or cycles asked for (`SpecError`)."""

    @abstractmethod
    def _curves(self, steps: Ints, total: int) -> Curves: ...

    def curves(self, steps: Ints | Sequence[int] | None, total: int) -> Curves:
        """Values at `steps` [n] (all of them when None) of a run of `total` steps, each [n].

        Raises:
            SpecError: `total` < 1, or too short for this schedule's phases or cycles; a step that is no integer.
            IndexError: a step outside [0, total).
        """
        self._check_total(total)
        asked = np.arange(total, dtype=np.int64) if steps is None else np.asarray(steps)
        if asked.size and asked.dtype.kind not in "iu":
            raise SpecError("schedule.step", f"{asked.flat[0]!r} is not a whole number")
        if asked.size and (asked.min() < 0 or asked.max() >= total):
            raise IndexError(f"step {asked.min()}..{asked.max()} is outside the schedule's 0..{total - 1}")
        return self._curves(asked.astype(np.int64), total)

    def divisor(self, groups: int) -> float:
        """What the lr of each of `groups` parameter groups is its successor's divided by."""
        return 1.0 if self.lr_divisor is None else self.lr_divisor

    def group_factors(self, groups: int, steps: Ints | Sequence[int] | None, total: int) -> Floats:
        """The lr of each parameter group, earliest layers first, as a multiple of the schedule's: [n, groups] at
        `steps` [n] (all of them when None). The last group has 1; a group with 0 is frozen at that step.

        Raises:
            SpecError: as `curves`; no group.

        >>> OneCycle(max_lr=0.1, lr_divisor=10).group_factors(3, None, total=2).tolist()
        [[0.01, 0.1, 1.0], [0.01, 0.1, 1.0]]
        """
        self._check_total(total)
        asked = np.arange(total, dtype=np.int64) if steps is None else np.asarray(steps, dtype=np.int64)
        factors = np.array(discriminative(groups, divisor=self.divisor(groups)))
        return np.where(self._frozen(groups, asked, total), 0.0, factors)

    def _frozen(self, groups: int, steps: Ints, total: int) -> NDArray[np.bool_]:
        """Which groups are frozen at which steps, [n, groups]."""
        return np.zeros((len(steps), groups), dtype=np.bool_)

    def cycle_ends(self, total: int) -> tuple[int, ...]:
        """The steps at whose end a snapshot is taken, after the optimizer has stepped: where each cycle is annealed.

        Raises:
            SpecError: as `curves`.
        """
        self._check_total(total)
        return self._cycle_ends(total)

    def _cycle_ends(self, total: int) -> tuple[int, ...]:
        return (total - 1,)

    def _check_total(self, total: object) -> None:
        if isinstance(total, bool) or not isinstance(total, Integral):
            raise SpecError("schedule.total", f"{total!r} is not a whole number")
        if total < 1:
            raise SpecError("schedule.total", f"{total!r} is not at least 1")
        self.check_length(int(total))

    def table(self, total: int) -> pd.DataFrame:
        """Every step of a run as a table [total, 4]: step, lr, momentum, weight_decay.

        Raises:
            SpecError: as `curves`.
        """
        import pandas as pd

        curves = self.curves(None, total)
        return pd.DataFrame({"step": np.arange(total), **curves._asdict()})

    def picture(self, total: int = 48) -> str:
        """The lr of a run of `total` steps as one line of text, a sign per step.

        Raises:
            SpecError: as `curves`.
        """
        lr = self.curves(None, total).lr
        return "".join("▁▂▃▄▅▆▇█"[round(level)] for level in 7 * lr / lr.max())

    def _repr_html_(self) -> str:
        """As a notebook shows it: the curve of the lr, and the fields that are set."""
        values = {name: value for name, value in self.to_dict().items() if name != "kind"}
        said = ", ".join(f"{name} {value}" for name, value in values.items())
        return f"<code>{self.picture()}</code><br>{escape(self.kind)}: {escape(said)}"

    def plot(self, total: int, *, log: bool = False) -> Figure:
        """lr (on a log axis if `log`), momentum and weight decay over the steps of a run, with the cycle ends marked.

        Raises:
            SpecError: as `curves`.
        """
        from lab.schedules.plot import figure

        return figure(self, total, log=log)

    def to_torch(
        self,
        optimizer: Optimizer,
        total: int,
        *,
        factors: Sequence[float] | None = None,
        decayed: Sequence[bool] | None = None,
        momentum: bool = True,
    ) -> ScheduleLR:
        """This schedule as a `torch.optim.lr_scheduler.LRScheduler` for a run of `total` optimizer steps.

        Args:
            optimizer: its groups get lr, momentum or betas[0], and weight_decay, whichever they have.
            factors: lr factor of each parameter group; see `discriminative`. None: what `group_factors` says.
            decayed: per group, whether it takes the weight decay; the others (biases, norms) keep their own.
            momentum: whether momentum or betas[0] are set, or left as the optimizer has them.

        Raises:
            SpecError: as `curves`; `factors` or `decayed` do not fit the optimizer's groups.
        """
        from lab.schedules.torch_face import ScheduleLR

        return ScheduleLR(optimizer, self, total, factors=factors, decayed=decayed, momentum=momentum)

    def to_dict(self) -> dict[str, Any]:
        """The schedule as a spec writes it, plain values only; `parse_schedule` is the inverse."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.kind, **{name: _plain(value) for name, value in values.items() if value is not None}}


def _plain(value: object) -> object:
    if isinstance(value, Schedule):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def preset_fields(cls: type[Schedule], name: object, path: str = "schedule") -> dict[str, Any]:
    """The fields that a preset of a kind sets; `SpecError` with the choices where there is none."""
    if not isinstance(name, str) or name not in cls.presets:
        hint = nearest(name, cls.presets) if isinstance(name, str) else ""
        choices = f"choices: {', '.join(cls.presets)}" if cls.presets else f"{cls.kind} has no presets"
        raise SpecError(f"{path}.preset", f"{name!r} is unknown{hint}; {choices}")
    return dict(cls.presets[name])


@contextmanager
def within(path: str) -> Iterator[None]:
    """Errors inside name where, in an enclosing schedule, they arose."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"schedule.{path}{error.path.removeprefix('schedule')}", error.message) from None


def at_least(schedule: Schedule, name: str, low: float, *, above: bool = False) -> None:
    """Refuse a field below `low`, or with `above` also `low` itself."""
    value = getattr(schedule, name)
    if value < low or (above and value == low):
        bound = f"above {low}" if above else f"at least {low}"
        raise SpecError(f"schedule.{name}", f"{value!r} is not {bound}")


def check_peak(schedule: Schedule, max_lr: float, min_lr: float | None) -> None:
    """Refuse lrs that are not 0 <= min_lr <= max_lr with max_lr > 0."""
    at_least(schedule, "max_lr", 0, above=True)
    if min_lr is not None and not 0 <= min_lr <= max_lr:
        raise SpecError("schedule.min_lr", f"{min_lr!r} is not between 0 and max_lr {max_lr!r}")


def check_phases(schedule: Schedule, total: int, phases: int) -> None:
    """Refuse a run with fewer steps than phases."""
    if total < phases:
        raise SpecError(
            "schedule.total", f"{total} steps are too few for the {phases} phases of {schedule.kind}; at least {phases}"
        )


@dataclass(frozen=True, kw_only=True)
class Simple(Schedule):
    """A schedule that is not made of others; its weight decay is the same at every step."""

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "weight_decay", 0)

    @abstractmethod
    def _lr(self, steps: Ints, total: int) -> Floats: ...

    @abstractmethod
    def _momentum(self, steps: Ints, total: int) -> Floats: ...

    def _curves(self, steps: Ints, total: int) -> Curves:
        decay = np.full(steps.shape, self.weight_decay, dtype=np.float64)
        return Curves(self._lr(steps, total), self._momentum(steps, total), decay)


@dataclass(frozen=True, kw_only=True)
class FixedMomentum(Simple):
    """A schedule whose momentum (beta1) is the same at every step."""

    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise SpecError("schedule.momentum", f"{self.momentum!r} is not in [0, 1)")

    def _momentum(self, steps: Ints, total: int) -> Floats:
        return np.full(steps.shape, self.momentum, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class CycledMomentum(Simple):
    """A schedule whose momentum (beta1) moves against the lr (Smith 2018, arXiv 1803.09820, section 4.3)."""

    momentum_high: float = 0.95
    momentum_low: float = 0.85

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum_low <= self.momentum_high < 1:
            raise SpecError(
                "schedule.momentum_low",
                f"{self.momentum_low!r} and momentum_high {self.momentum_high!r}: "
                "0 <= momentum_low <= momentum_high < 1 is needed",
            )
