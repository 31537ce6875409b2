"""A schedule as PyTorch's own kind of thing, for a user's training loop."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.hooks import RemovableHandle

from lab.errors import SpecError
from lab.schedules.curve_source import CurveSource
from lab.schedules.fields import coerce

_WATCH = "_schedule_watch"
"""Under what an optimizer keeps the handle of the hook of its schedule."""


class ScheduleLR(LRScheduler):
    """Sets lr, momentum (or betas[0]) and weight decay of every parameter group before each optimizer step.

    `step()` goes right after each `optimizer.step()`: what is counted are optimizer steps, however many batches
    each accumulates. After `total` of them the last values stay; a further `step()` is an IndexError. The state
    is plain values (safe for `torch.load(weights_only=True)`) and refuses to load into another schedule or total.

    A group that is added to the optimizer later follows the schedule from its first step on. Where there are `factors`
    or `decayed`, append its own to that list; until then every step is refused with a SpecError.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: CurveSource,
        total: int,
        *,
        factors: Sequence[float] | None = None,
        decayed: Sequence[bool] | None = None,
        momentum: bool = True,
    ) -> None:
        """As `Schedule.to_torch`.

        Raises:
            SpecError: `total` does not suit the schedule; `factors` or `decayed` do not fit the optimizer's groups.
        """
        schedule.curves([0], total)
        groups = len(optimizer.param_groups)
        self.schedule = schedule
        self.total = int(total)
        self.factors = _per_group("factors", factors, float, groups)
        self.decayed = _per_group("decayed", decayed, bool, groups)
        self.momentum: bool = coerce("momentum", momentum, bool)
        if self.factors is not None and min(self.factors) <= 0:
            raise SpecError("factors", f"{self.factors!r} are not all above 0")
        super().__init__(optimizer)
        self._watch(optimizer)

    def _watch(self, optimizer: Optimizer) -> None:
        """Set groups that were added before the optimizer steps, as long as no other schedule has taken it over."""
        earlier: RemovableHandle | None = getattr(optimizer, _WATCH, None)
        if earlier is not None:
            earlier.remove()
        mine = weakref.ref(self)

        def before_step(optimizer: Optimizer, *_: Any) -> None:
            schedule = mine()
            if schedule is not None and len(optimizer.param_groups) != len(schedule.get_last_lr()):
                schedule._set()

        setattr(optimizer, _WATCH, optimizer.register_step_pre_hook(before_step))

    def step(self, epoch: int | None = None) -> None:
        """Move on to the next optimizer step; `epoch` is refused, for steps are counted, not set.

        Raises:
            IndexError: all `total` steps are done.
            SpecError: a group was added that `factors` or `decayed` say nothing of.
        """
        if epoch is not None:
            raise TypeError("step() counts optimizer steps; load a state to continue elsewhere")
        if self.last_epoch >= self.total:
            raise IndexError(f"all {self.total} steps of the schedule are done; extend(total) makes it longer")
        self._check_groups()  # nothing has moved on yet
        super().step()

    def _check_groups(self) -> None:
        groups = len(self.optimizer.param_groups)
        for name, values in (("factors", self.factors), ("decayed", self.decayed)):
            if values is not None and len(values) != groups:
                raise SpecError(
                    name,
                    f"{len(values)} values for {groups} parameter groups; append one to this list for each new group",
                )

    def get_lr(self) -> list[float | Tensor]:
        """The current lr of each group; momentum and weight decay are set on the way."""
        at = min(self.last_epoch, self.total - 1)
        lr, momentum, weight_decay = (float(values[0]) for values in self.schedule.curves([at], self.total))
        lrs: list[float | Tensor] = []
        factors = self.factors
        if factors is None:
            factors = self.schedule.group_factors(len(self.optimizer.param_groups), [at], self.total)[0].tolist()
        for i, group in enumerate(self.optimizer.param_groups):
            if self.momentum and "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            elif self.momentum and "momentum" in group:
                group["momentum"] = momentum
            if "weight_decay" in group and (self.decayed is None or self.decayed[i]):
                group["weight_decay"] = weight_decay
            lrs.append(lr * factors[i])
        return lrs

    def extend(self, total: int) -> None:
        """Go on, from the step reached, with the curve of a longer run of `total` steps.

        Raises:
            SpecError: `total` is not above the present one.
        """
        self.schedule.curves([0], total)
        if total <= self.total:
            raise SpecError("schedule.total", f"{total} is not above the present {self.total}")
        self._check_groups()
        self.total = int(total)
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands, and which one it is, in plain values."""
        return {
            "last_epoch": self.last_epoch,
            "total": self.total,
            "schedule": self.schedule.to_dict(),
            "factors": self.factors,
            "decayed": self.decayed,
            "momentum": self.momentum,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where another one, of the same schedule and total, stood; the optimizer's groups are set.

        Raises:
            SpecError: the state is of another schedule or total.
        """
        own = self.state_dict()
        for name in ("total", "schedule", "factors", "decayed", "momentum"):
            if name not in state_dict:
                raise SpecError(f"state.{name}", "is missing: this is not the state of a schedule")
            if state_dict[name] != own[name]:
                hint = "; load it into one with that total, then extend(total)" if name == "total" else ""
                raise SpecError(f"state.{name}", f"{state_dict[name]!r} is not this schedule's {own[name]!r}{hint}")
        step: int = coerce("state.last_epoch", state_dict.get("last_epoch"), int)
        if not 0 <= step <= self.total:
            raise SpecError("state.last_epoch", f"{step} is not within the schedule's {self.total} steps")
        self._check_groups()
        self.last_epoch = step
        # Otherwise torch would warn of a missing optimizer step at the first step after loading.
        self._step_count = self.last_epoch + 1
        self._set()

    def _set(self) -> None:
        self._check_groups()
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self._last_lr = [
            group["lr"].clone() if isinstance(group["lr"], Tensor) else group["lr"]
            for group in self.optimizer.param_groups
        ]


def _per_group(name: str, values: Sequence[Any] | None, kind: type, groups: int) -> list[Any] | None:
    if values is None:
        return None
    numbers = [coerce(f"{name}.{i}", value, kind) for i, value in enumerate(values)]
    if len(numbers) != groups:
        raise SpecError(name, f"{len(numbers)} values for {groups} parameter groups")
    return numbers
