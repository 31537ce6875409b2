"""What the trials of a search may cost at most, and what their metrics have to reach: `search.constraints`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.errors import SpecError, nearest

PARAMETERS, FLOPS = "parameters", "flops"
COSTS = (PARAMETERS, FLOPS)
"""What is counted of a trial's model, and is the same on every machine."""
SCORE = "score"
"""What trials are ranked by, as `search.objectives` calls it."""
_SIDES = ("at_most", "at_least")
_TIME = frozenset({"seconds", "second", "time", "duration", "latency", "minutes", "hours", "speed", "wall_s"})


@dataclass(frozen=True)
class Limit:
    """A bound of one number that is measured of each trial.

    >>> Limit("parameters", 1000).broken({"parameters": 1210})
    'parameters 1,210 is above 1,000'
    """

    name: str
    value: float
    at_least: bool = False

    @property
    def is_of_cost(self) -> bool:
        """Whether it is known before the trial is trained."""
        return self.name in COSTS

    def broken(self, measured: Mapping[str, float | None]) -> str:
        """What breaks it, in words; empty where it is met. What is missing, or no number, meets nothing."""
        value = measured.get(self.name)
        if value is None or math.isnan(value):
            return f"{self.name} is {'missing' if value is None else 'nan'}"
        if (value < self.value) if self.at_least else (value > self.value):
            return f"{self.name} {_said(value)} is {'below' if self.at_least else 'above'} {_said(self.value)}"
        return ""


def broken(limits: Iterable[Limit], measured: Mapping[str, float | None]) -> str:
    """What breaks any of the limits, in words; empty where all are met."""
    return "; ".join(filter(None, (limit.broken(measured) for limit in limits)))


def check_constraints(value: object) -> dict[str, dict[str, float]] | None:
    """Constraints as a spec has them, in their one form: `{name: {at_most: number}}`.

    Raises:
        SpecError: with the place, the value and what is allowed.
    """
    path = "search.constraints"
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise SpecError(path, f"{value!r} is not a mapping of {', '.join(COSTS)} or a metric to what it may be at most")
    return {str(name): _sides(f"{path}.{name}", name, said) for name, said in value.items()} or None


def _sides(path: str, name: object, said: object) -> dict[str, float]:
    refuse_time(path, name)
    if name == SCORE:
        raise SpecError(path, "is constrained by its metric's own name")
    sides: dict[str, Any] = dict(said) if isinstance(said, Mapping) else {"at_most": said}
    if not sides:
        raise SpecError(path, f"is empty; {' or '.join(_SIDES)} is needed")
    for side, limit in sides.items():
        if side not in _SIDES:
            raise SpecError(f"{path}.{side}", f"is unknown{nearest(str(side), _SIDES)}; allowed: {', '.join(_SIDES)}")
        at = path if not isinstance(said, Mapping) else f"{path}.{side}"
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not abs(limit) < math.inf:
            raise SpecError(at, f"{limit!r} is not a finite number")
        if name in COSTS and limit <= 0:
            raise SpecError(at, f"{limit!r} is not above 0")
    if "at_most" in sides and "at_least" in sides and sides["at_most"] < sides["at_least"]:
        raise SpecError(path, f"at_most {sides['at_most']!r} is below at_least {sides['at_least']!r}")
    return {side: float(limit) for side, limit in sides.items()}


def check_objectives(value: object) -> list[str] | None:
    """The names of what a search trades off, the score among them.

    Raises:
        SpecError: as `check_constraints`.
    """
    path = "search.objectives"
    if value is None:
        return None
    allowed = (SCORE, *COSTS)
    if not isinstance(value, (list, tuple)):
        raise SpecError(path, f"{value!r} is not a list of {', '.join(allowed)}")
    for name in value:
        refuse_time(path, name)
        if name not in allowed:
            raise SpecError(path, f"{name!r} is unknown{nearest(str(name), allowed)}; allowed: {', '.join(allowed)}")
        if value.count(name) > 1:
            raise SpecError(path, f"names {name} twice")
    if SCORE not in value or len(value) < 2:
        raise SpecError(path, f"{list(value)!r} is no trade-off; {SCORE} is needed, and one of {', '.join(COSTS)}")
    return list(value)


def refuse_time(path: str, name: object) -> None:
    """Refuse a cost that is another on another machine (`SpecError`)."""
    if isinstance(name, str) and name.lower() in _TIME:
        why = "depends on the machine, and what is proposed must not (same seed, same study)"
        raise SpecError(path if path.endswith(name) else f"{path}: {name}", f"{why}; take flops or parameters")


def limits_of(constraints: Mapping[str, Any] | None) -> tuple[Limit, ...]:
    """The limits that constraints in their one form set."""
    return tuple(
        Limit(name, value, side == "at_least")
        for name, sides in (constraints or {}).items()
        for side, value in sides.items()
    )


def _said(value: Any) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.6g}"
