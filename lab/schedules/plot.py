"""A schedule as a plotly figure."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab.schedules.curve_source import CurveSource

_ROWS = {"lr": "learning rate", "momentum": "momentum (beta1)", "weight_decay": "weight decay"}


def figure(schedule: CurveSource, total: int, *, log: bool = False) -> go.Figure:
    """lr (on a log axis if `log`), momentum and weight decay over optimizer steps; dots where cycles end.

    Raises:
        SpecError: as `Schedule.curves`.
    """
    table = schedule.table(total)
    ends = list(schedule.cycle_ends(total))
    plot = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=[0.6, 0.2, 0.2], vertical_spacing=0.04)
    for row, (name, title) in enumerate(_ROWS.items(), start=1):
        line = go.Scatter(x=table["step"], y=table[name], mode="lines", name=title, showlegend=False)
        plot.add_trace(line, row=row, col=1)
        plot.update_yaxes(title_text=title, row=row, col=1)
    marks = go.Scatter(x=ends, y=table["lr"].iloc[ends], mode="markers", name="cycle end", showlegend=False)
    plot.add_trace(marks, row=1, col=1)
    if log:
        plot.update_yaxes(type="log", row=1, col=1)
    plot.update_xaxes(title_text="optimizer step", row=3, col=1)
    plot.update_layout(title=f"{schedule.kind}, {total} steps", template="plotly_white")
    return plot
