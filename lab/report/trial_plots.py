"""Plots of all trials of a search: as lines through their hyperparameters, and hyperparameter by hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.record.trials import TrialRow
from lab.report.number import number
from lab.report.plots import ACCENT, SOFT, are_numbers, blank, sampled
from lab.spec.space import Value
from lab.stages.job import best_first

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SCALE = [[0.0, "#8291a5"], [1.0, ACCENT]]
"""From the worst score to the best: from grey to blue, since on dark the darker one would be the fainter."""
_DECADES = 1.0
"""Numbers that span as many decades are drawn on a log scale."""
_COLUMNS = 3
_MOST_LINES = 200


def parallel_figure(rows: Sequence[TrialRow], names: Sequence[str], metric: str, direction: str) -> Figure:
    """A line for each trial with a score, through its value of each hyperparameter to its score; the best are blue.

    A hyperparameter that some of them lack, since others decide whether it exists, has no axis. Where trials are very
    many the best are drawn. Lines are plain ones: plotly's own parallel coordinates need WebGL, which not every browser
    has that opens a report.
    """
    from plotly.colors import sample_colorscale

    drawn = best_first([row for row in rows if row.score is not None], direction)[:_MOST_LINES]
    everywhere = [name for name in names if all(name in row.params for row in drawn)]
    axes = [_axis(name, [row.params[name] for row in drawn]) for name in everywhere]
    axes.append(_axis(metric, [row.score or 0.0 for row in drawn]))
    figure = blank("", "", height=360)
    # By rank, since one bad trial would make all others of one colour; the best lie above the others.
    colors = sample_colorscale(SCALE, [1 - i / max(len(drawn) - 1, 1) for i in range(len(drawn))])
    for index in reversed(range(len(drawn))):
        row = drawn[index]
        setting = "<br>".join(f"{name} = {number(row.params[name])}" for name in everywhere)
        figure.add_scatter(
            x=list(range(len(axes))),
            y=[axis.heights[index] for axis in axes],
            mode="lines",
            line={"color": colors[index], "width": 2.5 if index == 0 else 1.2},
            hovertemplate=f"trial {row.number}: {metric} {number(row.score)}<br>{setting}<extra></extra>",
            showlegend=False,
        )
    for at, axis in enumerate(axes):
        figure.add_vline(x=at, line={"color": SOFT, "width": 1})
        for height, text in axis.ticks:
            figure.add_annotation(
                x=at, y=height, text=text, showarrow=False, xanchor="left", xshift=4, font={"size": 11}
            )
    ticks = {"tickvals": list(range(len(axes))), "ticktext": [axis.name for axis in axes]}
    figure.update_xaxes(range=[-0.1, len(axes) - 0.6], showgrid=False, **ticks)
    figure.update_yaxes(range=[-0.05, 1.05], showgrid=False, showticklabels=False)
    return figure


def slice_figure(rows: Sequence[TrialRow], names: Sequence[str], metric: str, direction: str) -> Figure:
    """Every trial's score by each hyperparameter in turn; later trials are bluer."""
    from plotly.subplots import make_subplots

    scored = sampled([row for row in rows if row.score is not None], direction)
    columns = min(len(names), _COLUMNS)
    lines = math.ceil(len(names) / columns)
    figure = make_subplots(rows=lines, cols=columns, shared_yaxes=True, vertical_spacing=0.3 / lines)
    for index, name in enumerate(names):
        mine = [row for row in scored if name in row.params]
        values = [row.params[name] for row in mine]
        line, column = index // columns + 1, index % columns + 1
        figure.add_scatter(
            x=values if are_numbers(values) else [str(value) for value in values],
            y=[row.score for row in mine],
            mode="markers",
            marker={"color": [row.number for row in mine], "colorscale": SCALE, "size": 7},
            hovertemplate="trial %{marker.color}: %{x} gives %{y:.4f}<extra></extra>",
            showlegend=False,
            row=line,
            col=column,
        )
        figure.update_xaxes(title=name, type="log" if _spans_decades(values) else None, row=line, col=column)
    figure.update_yaxes(title=metric, col=1)
    style = blank("", "").layout
    return figure.update_layout(template=style.template, font=style.font, margin=style.margin, height=80 + 240 * lines)


@dataclass(frozen=True)
class _Axis:
    """An axis of parallel coordinates."""

    name: str
    heights: tuple[float, ...]
    """Each trial's, from 0 to 1."""
    ticks: tuple[tuple[float, str], ...]
    """Heights, and what stands there."""


def _axis(name: str, values: Sequence[Value]) -> _Axis:
    """Linear, by decades, or a height for each choice."""
    if not are_numbers(values):
        choices = list(dict.fromkeys(map(str, values)))
        last = max(len(choices) - 1, 1)
        height_of = {choice: i / last for i, choice in enumerate(choices)}
        return _Axis(name, tuple(height_of[str(v)] for v in values), tuple((h, c) for c, h in height_of.items()))
    as_numbers = [float(value) for value in values]
    measured = [math.log10(v) for v in as_numbers] if _spans_decades(values) else as_numbers
    low, high = min(measured), max(measured)
    ends = ((0.0, number(min(as_numbers), 3)), (1.0, number(max(as_numbers), 3)))
    return _Axis(name, tuple((v - low) / ((high - low) or 1.0) for v in measured), ends)


def _spans_decades(values: Sequence[Value]) -> bool:
    if not values or not are_numbers(values):
        return False
    low, high = min(map(float, values)), max(map(float, values))
    return low > 0 and math.log10(high / low) >= _DECADES
