"""Every trial of a study as one table that a browser unpacks, sorts, and writes as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.record.trials import TrialRow
from lab.report.packing import packed
from lab.spec.plan import Direction
from lab.spec.space import Value
from lab.spec.trial import Outcome
from lab.stages.job import best_first

BEST = 20
"""Rows that stand there without JavaScript."""
MOST = 20_000
"""Rows that a page holds: it is to open quickly, and `trials.parquet` has all of them."""
_SEARCH, _REFIT = "explore", "refit"
_LAST = ("epochs", "score", "validation loss", "seconds")


@dataclass(frozen=True)
class TrialTable:
    """Trials in rows: those of the search first, the best first among them; then those of the other stages."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value | None, ...], ...]
    """A value for each column; the first is the trial's number."""
    left_out: int
    """Trials beyond those that a page holds."""
    direction: Direction

    @property
    def packed(self) -> str:
        """Names, whether a score is the better the larger it is, and values by column: JSON by gzip in base64."""
        values = [[row[at] for row in self.rows] for at in range(len(self.columns))]
        content = {"columns": self.columns, "maximize": self.direction == "maximize", "values": values}
        return packed(content)


def trial_table(trials: Mapping[str, Sequence[TrialRow]], names: Sequence[str], direction: Direction) -> TrialTable:
    """The trials by stage as a table, with a column for each hyperparameter: those of the space, then what others have.

    Numbers have six digits, as far as people compare them. A score of stage `refit` is its training loss, which is left
    out beside scores.
    """
    search = trials.get(_SEARCH, ())
    scored = best_first([row for row in search if row.score is not None], direction)
    ordered = [(_SEARCH, row) for row in (*scored, *(row for row in search if row.score is None))]
    ordered += [(stage, row) for stage, rows in trials.items() if stage != _SEARCH for row in rows]
    kept = ordered[:MOST]
    params = dict.fromkeys((*names, *(name for _, row in kept for name in row.params)))
    rows = tuple(
        (
            row.number,
            stage,
            row.trial.role,
            "running" if row.outcome is None else str(row.outcome),
            *(_value(row.params.get(name)) for name in params),
            _epochs(row),
            None if stage == _REFIT else _value(row.score),
            _value(row.metrics.get("valid_loss")),
            _value(row.seconds, 4),
        )
        for stage, row in kept
    )
    columns = ("trial", "stage", "role", "state", *params, *_LAST)
    return TrialTable(columns, rows, len(ordered) - len(kept), direction)


def _epochs(row: TrialRow) -> int | None:
    """How far it came; one that is not validated tells it by its end alone."""
    return max(row.curve, default=row.trial.epochs if row.outcome is Outcome.COMPLETED else None)


def _value(value: Any, digits: int = 6) -> Value | None:
    """As JSON can hold it, numbers to so many digits."""
    if not isinstance(value, float):
        return value  # type: ignore[no-any-return]
    return float(f"{value:.{digits}g}") if abs(value) < float("inf") else None
