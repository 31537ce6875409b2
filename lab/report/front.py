"""What each cost that a study trades off or constrains buys: the Pareto front in words, and as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.record.trials import TrialRow
from lab.report.number import number
from lab.spec.plan import Direction
from lab.spec.study import StudySpec
from lab.stages.front import asked_costs, front_of


@dataclass(frozen=True)
class Front:
    """The trials that no other beats in both score and one cost, the cheapest first."""

    cost: str
    metric: str
    trials: int
    """How many were compared."""
    cheapest: tuple[float, float]
    """Cost and score."""
    best: tuple[float, float]

    @property
    def line(self) -> str:
        """The front in words."""
        (least, worse), (most, better) = self.cheapest, self.best
        ends = f"{self.metric} {number(worse)} at {least:,.0f} {self.cost}"
        return ends if least == most else f"{ends} to {number(better)} at {most:,.0f}"


@dataclass(frozen=True)
class FrontBlock:
    """A front as the page shows it."""

    front: Front
    rows: tuple[TrialRow, ...]


def fronts(spec: StudySpec, rows: Sequence[TrialRow], metric: str, direction: Direction) -> list[FrontBlock]:
    """A front for each cost that a study is about, as far as trials have completed."""
    made = []
    for cost in asked_costs(spec):
        front = front_of(rows, cost, direction)
        if front:
            ends = [(row.metrics[cost] or 0.0, row.score or 0.0) for row in (front[0], front[-1])]
            scored = sum(row.score is not None for row in rows)
            made.append(FrontBlock(Front(cost, metric, scored, *ends), tuple(front)))
    return made
