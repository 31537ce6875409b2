"""The trials of a search that no other beats in both score and cost: the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable

from lab.errors import RecordError, nearest
from lab.record.trials import TrialRow
from lab.spec.limits import COSTS
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome


def front_of(rows: Iterable[TrialRow], cost: str, direction: str) -> list[TrialRow]:
    """The completed trials of which none costs no more and scores better, the cheapest first.

    The earliest of trials that are equal in both stands for all.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    points = [
        (paid, sign * row.score, row.turn, row)
        for row in rows
        if row.outcome is Outcome.COMPLETED and row.score is not None and (paid := row.metrics.get(cost)) is not None
    ]
    front: list[TrialRow] = []
    best = float("inf")
    for _, score, _, row in sorted(points, key=lambda point: point[:3]):
        if score < best:
            front.append(row)
            best = score
    return front


def check_cost(rows: Iterable[TrialRow], cost: str) -> None:
    """Refuse a cost that was measured of no trial with a score (`RecordError`)."""
    names = {name for row in rows if row.score is not None for name, value in row.metrics.items() if value is not None}
    if cost not in names:
        counted = (
            "; flops are counted where search.constraints or search.objectives name them" if cost == "flops" else ""
        )
        measured = ", ".join(sorted(names)) or "nothing"
        raise RecordError(f"front: {cost!r} was not measured{nearest(cost, names)}; measured were {measured}{counted}")


def asked_costs(spec: StudySpec) -> tuple[str, ...]:
    """The costs that a study is about: those that are traded off, else those that are constrained."""
    return spec.search.costs or tuple(name for name in spec.search.constraints or () if name in COSTS)
