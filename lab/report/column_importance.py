"""What the data's own columns are worth, as a plot and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.report.number import number
from lab.report.plots import ACCENT, INK, blank
from lab.stages.column_importance import ColumnImportance, ColumnImportances

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 30
"""Bars of the plot: more cannot be told apart."""
_LETTERS, _NAMES = 40, 3


def columns_figure(importances: ColumnImportances) -> Figure:
    """By how much the score is worse where columns are permuted, a bar for those that are alike, the most on top."""
    shown = importances.columns[:MOST][::-1]
    figure = blank(f"validation {importances.metric}: worse by", "", height=90 + 26 * len(shown))
    figure.add_bar(
        x=[one.worse for one in shown],
        y=_apart([called(one) for one in shown]),
        orientation="h",
        marker={"color": ACCENT},
        error_x={"type": "data", "array": [one.std for one in shown], "color": INK, "thickness": 1},
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        showlegend=False,
    )
    return figure.update_yaxes(automargin=True)


def called(one: ColumnImportance) -> str:
    """Columns that are permuted together, in few letters."""
    names = [name if len(name) <= _LETTERS else name[: _LETTERS - 3] + "..." for name in one.columns[:_NAMES]]
    more = len(one.columns) - len(names)
    return " with ".join(names) + (f" and {more} more" if more else "")


def _apart(labels: list[str]) -> list[str]:
    """Labels of which no two are the same bar."""
    return [
        f"{label} ({labels[:i].count(label) + 1})" if label in labels[:i] else label for i, label in enumerate(labels)
    ]


def columns_line(importances: ColumnImportances) -> str:
    """The same in a sentence or two."""
    telling = importances.telling
    asked = f"{importances.rows} validation rows, where {importances.metric} is {number(importances.score)}"
    if not telling:
        return f"No column is surely worth anything: permuting none makes {asked}, surely worse."
    parts = [f"{called(one)} ({number(one.worse, 2)})" for one in telling[:_NAMES]]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    rest = sum(len(one.columns) for one in importances.columns) - sum(len(one.columns) for one in telling)
    without = f" {rest} column{'s' if rest > 1 else ''} may be worth nothing." if rest else ""
    return f"Permuted on {asked}, the columns that cost most are {listed}.{without}"
