"""One model's training as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lab.report.plots import ACCENT, INK, SOFT, WARN, blank
from lab.schedules import Schedule

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_POINTS = 400
"""Points of the curve of the learning rate."""


def training_figure(curve: pd.DataFrame, metric: str, schedule: Schedule) -> Figure:
    """Losses, metric and learning rate over the epochs, one above the other.

    Args:
        curve: a row for each epoch, as `lab.fit_one_cycle` has it.
    """
    from plotly.subplots import make_subplots

    lines = {"train_loss": SOFT, "valid_loss": ACCENT, metric: INK}
    drawn = [name for name in lines if name in curve]
    titles = ["loss", *([metric] if metric in curve else []), "learning rate"]
    figure = blank("", "", height=140 + 150 * len(titles))
    figure = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.06).update_layout(
        {k: v for k, v in figure.layout.to_plotly_json().items() if k not in ("xaxis", "yaxis")}
    )
    mode = "lines+markers" if len(curve) < 12 else "lines"
    for name in drawn:
        row = 2 if name == metric else 1
        figure.add_scatter(
            x=curve.index, y=curve[name], mode=mode, name=name, line={"color": lines[name]}, row=row, col=1
        )
    epochs = len(curve)
    total = max(_POINTS, epochs)
    x, lr = (np.arange(total) + 1) / total * epochs, schedule.curves(None, total).lr
    figure.add_scatter(x=x, y=lr, mode="lines", name="lr", line={"color": WARN}, row=len(titles), col=1)
    for row, title in enumerate(titles, start=1):
        figure.update_yaxes(title_text=title, row=row, col=1)
    return figure.update_xaxes(title_text="epoch", row=len(titles), col=1)
