"""What layers give over a training, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.report.plots import PALETTE, blank

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_TITLES = {"mean": "mean", "std": "standard deviation", "near_zero": "share near zero"}


def activation_figure(history: pd.DataFrame) -> Figure:
    """Mean, standard deviation and share next to nothing over the steps, one above the other, a line for each layer.

    Args:
        history: a row for each layer and step, as `lab.activation_health` has it.
    """
    from plotly.subplots import make_subplots

    layout = blank("", "", height=700).layout.to_plotly_json()
    figure = make_subplots(rows=len(_TITLES), cols=1, shared_xaxes=True, vertical_spacing=0.06).update_layout(
        {k: v for k, v in layout.items() if k not in ("xaxis", "yaxis")}
    )
    for i, (layer, rows) in enumerate(history.groupby("layer", sort=False)):
        for at, name in enumerate(_TITLES, start=1):
            figure.add_scatter(
                x=rows["step"],
                y=rows[name],
                mode="lines",
                name=str(layer),
                legendgroup=str(layer),
                showlegend=at == 1,
                line={"color": PALETTE[i % len(PALETTE)], "width": 1.5},
                row=at,
                col=1,
            )
    for at, title in enumerate(_TITLES.values(), start=1):
        figure.update_yaxes(title_text=title, row=at, col=1)
    return figure.update_xaxes(title_text="step", row=len(_TITLES), col=1)
