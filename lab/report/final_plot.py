"""The trainings of the final models as curves, with the snapshots that each has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lab.record.trials import TrialRow
from lab.report.plots import INK, PALETTE, blank
from lab.spec.plan import Recipe
from lab.stages.final import CYCLICAL, LONG, MODELS, SHORTER, Run

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ROLES: Mapping[str, str] = {
    LONG: "1cycle run",
    SHORTER: "shorter 1cycle run",
    CYCLICAL: "cyclical run",
    "averaged": "average of a 1cycle run's weights",
}
"""What runs and members of each role are called."""
_STEPS = 100
"""Steps of an epoch in which the end of a cycle is looked for; a study's own number changes it by less than one."""


def final_figure(runs: Sequence[Run], rows: Sequence[TrialRow], recipe: Recipe, metric: str) -> Figure:
    """The score after each epoch of the runs whose models may be handed out; a diamond where a snapshot was taken."""
    figure = blank("epoch", metric)
    curves = {row.number: row.curve for row in rows if row.curve}
    mine = [run for run in runs if run.role in MODELS and run.trial in curves]
    named: set[str] = set()
    ends: list[tuple[float, float, str]] = []
    for run in mine:
        curve = curves[run.trial]
        x, y = list(curve), list(curve.values())
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines" if len(curve) > 1 else "lines+markers",
            name=ROLES[run.role],
            legendgroup=run.role,
            showlegend=run.role not in named,
            line={"color": PALETTE[MODELS.index(run.role)], "width": 1.6},
            hovertemplate=f"{ROLES[run.role]}, trial {run.trial}<br>epoch %{{x}}: %{{y:.4f}}<extra></extra>",
        )
        named.add(run.role)
        for index, epoch in enumerate(snapshot_epochs(run, recipe)):
            says = f"snapshot {index + 1} of trial {run.trial}"
            ends.append((epoch, float(np.interp(epoch, x, y)), says))
    if ends:
        figure.add_scatter(
            x=[epoch for epoch, _, _ in ends],
            y=[score for _, score, _ in ends],
            text=[says for *_, says in ends],
            mode="markers",
            name="snapshot",
            marker={"symbol": "diamond-open", "color": INK, "size": 9},
            hovertemplate="%{text}, at epoch %{x:.3g}<extra></extra>",
        )
    return figure


def snapshot_epochs(run: Run, recipe: Recipe) -> list[float]:
    """At which epochs a run's snapshots were taken: at the ends of its cycles."""
    ends = sorted(set(recipe.schedule(run.params).cycle_ends(run.epochs * _STEPS)))
    return [(end + 1) / _STEPS for end in ends][: len(run.snapshots)]
