"""Discriminative learning rates: lower ones for earlier parameter groups."""

from __future__ import annotations

from lab.errors import SpecError
from lab.schedules.fields import coerce


def discriminative(
    groups: int, *, divisor: float | None = None, lrs: tuple[float, float] | None = None
) -> tuple[float, ...]:
    """The lr factor of each of `groups` parameter groups, earliest layers first; the last has 1.

    With a `divisor` (2.6 if nothing is given) each group has its successor's lr divided by it:
    factor_i = divisor^-(groups - 1 - i). With `lrs` = (low, high), as in fastai's `slice(low, high)`, the lrs rise
    geometrically from low to high, so the factors from low/high to 1, and `high` is the schedule's max_lr.

    Source: Howard & Ruder 2018 (arXiv 1801.06146), section 3.2; fastai 2.8 `even_mults`.

    Raises:
        SpecError: no group, a divisor below 1, not 0 < low <= high, or both ways at once.

    >>> discriminative(3, lrs=(0.001, 0.1))
    (0.01, 0.1, 1.0)
    """
    count: int = coerce("groups", groups, int)
    if count < 1:
        raise SpecError("groups", f"{groups!r} is not at least 1")
    if lrs is None:
        by: float = coerce("divisor", 2.6 if divisor is None else divisor, float)
        if by < 1:
            raise SpecError("divisor", f"{by!r} is not at least 1")
        return tuple(by ** -(count - 1 - i) for i in range(count))
    if divisor is not None:
        raise SpecError("divisor", "only one of divisor and lrs can be given")
    ends: tuple[float, ...] = coerce("lrs", lrs, tuple[float, ...])
    if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
        raise SpecError("lrs", f"{lrs!r} are not 0 < low <= high")
    low, high = ends
    return tuple((low / high) ** ((count - 1 - i) / (count - 1)) if i < count - 1 else 1.0 for i in range(count))
