"""The score of every trial by what its model costs, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.record.trials import TrialRow
from lab.report.number import number
from lab.report.plots import ACCENT, SOFT, WARN, blank, sampled
from lab.spec.limits import Limit

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def front_figure(
    rows: Sequence[TrialRow],
    front: Sequence[TrialRow],
    cost: str,
    metric: str,
    direction: str,
    limits: Sequence[Limit] = (),
) -> Figure:
    """Every trial's score by its cost, the front as a step line, and what a constraint allows as a vertical one."""
    figure = blank(cost, metric)
    scored = [row for row in rows if row.score is not None and row.metrics.get(cost) is not None]
    drawn = (
        (sampled(scored, direction), {"mode": "markers", "name": "trials", "marker": {"color": SOFT, "size": 6}}),
        (
            front,
            {
                "mode": "lines+markers",
                "name": "no other is better in both",
                "line": {"color": ACCENT, "shape": "hv"},
                "marker": {"color": ACCENT, "size": 8},
            },
        ),
    )
    for which, style in drawn:
        figure.add_scatter(
            x=[row.metrics[cost] for row in which],
            y=[row.score for row in which],
            text=["<br>".join(f"{k} = {number(v)}" for k, v in row.params.items()) for row in which],
            customdata=[row.number for row in which],
            hovertemplate=f"trial %{{customdata}}: %{{y:.4f}} at %{{x:,.0f}} {cost}<br>%{{text}}<extra></extra>",
            **style,
        )
    for limit in limits:
        if limit.name == cost:
            figure.add_vline(x=limit.value, line={"color": WARN, "dash": "dash"})
    if all((row.metrics[cost] or 0) > 0 for row in scored):
        figure.update_xaxes(type="log")
    return figure
