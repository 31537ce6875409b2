"""The curves of a study's own run: what has ended, and the best so far, training by training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab.record.trials import TrialRow
from lab.report.wandb_runs.service import Run
from lab.spec.plan import Direction
from lab.spec.trial import Outcome

_ENDED = "trainings"
"""The x axis: trainings that have ended, whatever of."""
_PER_S = 1000


class StudyCurves:
    """Logs a point for each training that has ended.

    The step of a point is the time since the first of them ended, in milliseconds. It follows from the record alone, so
    that a point that is logged once more, when a study goes on or is logged whole, has the step that it had, and no run
    takes it twice.
    """

    def __init__(self, run: Run, compared: Sequence[str]) -> None:
        self._run, self._compared = run, compared
        self._origin: float | None = None
        self._last = 0
        self._ended: Counter[str] = Counter()
        self._epochs = 0
        self._best: dict[str, float] = {}
        run.define_metric(_ENDED, hidden=True)
        for name in ("epochs", *(f"{stage}/{what}" for stage in compared for what in ("score", "best", "ended"))):
            run.define_metric(name, step_metric=_ENDED)

    def add(self, changed: Mapping[str, Sequence[TrialRow]], direction: Callable[[str], Direction]) -> None:
        """Log the trainings among those that have ended, in the order of their ends."""
        ended = [(row.ended_at, stage, row) for stage, rows in changed.items() for row in rows if row.ended_at]
        for ended_at, stage, row in sorted(ended, key=lambda one: (one[0], one[1], one[2].number)):
            if row.outcome is not None and row.outcome is not Outcome.PREEMPTED:
                self._origin = ended_at if self._origin is None else self._origin
                self._log(self._point(stage, row, direction), ended_at)

    def note(self, values: Mapping[str, Any]) -> None:
        """Log something else that is known from now on, beside the last point.

        When it is said is not in the record, and must not move the points that follow.
        """
        self._run.log(dict(values), step=max(self._last, self._run.starting_step))

    def _point(self, stage: str, row: TrialRow, direction: Callable[[str], Direction]) -> dict[str, Any]:
        self._ended[stage] += 1
        self._epochs += max(row.curve, default=0)
        point: dict[str, Any] = {_ENDED: self._ended.total(), "epochs": self._epochs}
        if stage not in self._compared:
            return point
        point |= {f"{stage}/trial": row.number, f"{stage}/ended": self._ended[stage]}
        if row.score is not None:
            better = max if direction(stage) == "maximize" else min
            self._best[stage] = better(self._best.get(stage, row.score), row.score)
            point[f"{stage}/score"] = row.score
        if stage in self._best:
            point[f"{stage}/best"] = self._best[stage]
        return point

    def _log(self, values: Mapping[str, Any], at: float) -> None:
        assert self._origin is not None  # as something is logged
        self._last = max(round((at - self._origin) * _PER_S), self._last + 1)
        if self._last >= self._run.starting_step:  # else the run has it
            self._run.log(dict(values), step=self._last)
