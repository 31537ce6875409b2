"""Plots of what a model does on the test split: confused classes, deserved confidence, predicted and actual values."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from lab.report.number import number
from lab.report.plots import ACCENT, INK, SOFT, blank
from lab.stages.diagnostics import Confusion, Diagnostics, Reliability, Residuals

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHARES = [[0.0, "rgba(37,99,235,0.03)"], [1.0, "rgba(37,99,235,0.7)"]]
"""From no example of a class to all: so faint at most that the page's ink can be read on it, on light and on dark."""
_CELL = 30
"""Pixels of a row of the matrix."""
_LONGEST_NAME = 20
_LETTERS = 70
"""Letters of all names together that lie side by side below a matrix; more of them stand upright."""
_SMALLEST, _LARGEST = 6.0, 16.0
"""Sizes of a bin's mark."""


def confusion_figure(confusion: Confusion) -> Figure:
    """Counts by true class (rows) and predicted class (columns), coloured by their share of the row.

    Raises:
        ValueError: the classes are so many that there is no matrix.
    """
    if not confusion.counts:
        raise ValueError(f"{confusion.classes} classes are too many for a matrix")
    names = [class_name(name) for name in confusion.names]
    c = len(names)
    figure = blank("predicted class", "true class", height=150 + max(c, 4) * _CELL)
    totals = [max(sum(row), 1) for row in confusion.counts]
    shares = [[n / total for n in row] for row, total in zip(confusion.counts, totals, strict=True)]
    positions = list(range(c))
    figure.add_heatmap(
        x=positions,
        y=positions,
        z=shares,
        zmin=0,
        zmax=1,
        colorscale=SHARES,
        showscale=False,
        xgap=1,
        ygap=1,
        customdata=[[[n, true, said] for n, said in zip(row, names, strict=True)] for row, true in _rows(confusion)],
        hovertemplate="true %{customdata[1]}, said %{customdata[2]}: %{customdata[0]}, %{z:.1%} of the row"
        "<extra></extra>",
    )
    cells = [(i, j, n) for i, row in enumerate(confusion.counts) for j, n in enumerate(row) if n]
    figure.add_scatter(
        x=[j for _, j, _ in cells],
        y=[i for i, _, _ in cells],
        text=[_short(n) for *_, n in cells],
        mode="text",
        textposition="middle center",
        textfont={"color": INK, "size": 12 if c <= 12 else 9},
        hoverinfo="skip",
        showlegend=False,
    )
    ticks = {"tickvals": positions, "ticktext": names, "showgrid": False}
    upright = sum(map(len, names)) > _LETTERS
    figure.update_xaxes(range=[-0.5, c - 0.5], tickangle=-90 if upright else None, **ticks)
    return figure.update_yaxes(range=[c - 0.5, -0.5], **ticks)


def _rows(confusion: Confusion) -> list[tuple[tuple[int, ...], str]]:
    return [(row, class_name(name)) for row, name in zip(confusion.counts, confusion.names, strict=True)]


def class_name(name: str) -> str:
    """A name that whoever made the data has chosen, for plotly: short, and with nothing in it that reads as markup."""
    short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return escape(short, quote=False)


def _short(count: int) -> str:
    """A count in four letters at most, up to a billion."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            unit = 1000 if letter == "k" else size
            return f"{count / unit:.0f}{letter}"
    return str(count)


def reliability_figure(reliability: Reliability) -> Figure:
    """The share of right predictions over their mean confidence, with Wilson's 95 % intervals; a larger mark stands for
    more examples. On the diagonal a confidence is deserved."""
    figure = blank("confidence", "share of right predictions")
    _diagonal(figure, 0.0, 1.0, "as often right as sure")
    bins = reliability.bins
    most = max((one.count for one in bins), default=1)
    figure.add_scatter(
        x=[one.confidence for one in bins],
        y=[one.share for one in bins],
        mode="markers",
        name="ten bins, 95 % intervals",
        marker={
            "color": ACCENT,
            "size": [_SMALLEST + (_LARGEST - _SMALLEST) * (one.count / most) ** 0.5 for one in bins],
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [one.interval[1] - one.share for one in bins],
            "arrayminus": [one.share - one.interval[0] for one in bins],
            "color": SOFT,
        },
        customdata=[[one.count, *one.interval] for one in bins],
        hovertemplate="sure of %{x:.1%}: %{y:.1%} of %{customdata[0]} right"
        "<br>95 %: %{customdata[1]:.1%} to %{customdata[2]:.1%}<extra></extra>",
    )
    figure.update_xaxes(range=[-0.02, 1.04], tickformat=".0%")
    return figure.update_yaxes(range=[-0.04, 1.06], tickformat=".0%")


def residuals_figure(residuals: Residuals, name: str = "") -> Figure:
    """Predicted values over the actual ones, beside the diagonal on which they are equal."""
    what = f" {class_name(name)}" if name else ""
    figure = blank(f"actual{what}", f"predicted{what}", height=400)
    ends = (*residuals.actual, *residuals.predicted)
    low, high = min(ends), max(ends)
    room = 0.04 * ((high - low) or abs(high) or 1.0)
    _diagonal(figure, low - room, high + room, "equal")
    figure.add_scatter(
        x=residuals.actual,
        y=residuals.predicted,
        mode="markers",
        name="test examples",
        marker={"color": ACCENT, "size": 6, "opacity": 0.55},
        hovertemplate="actual %{x:.5g}: predicted %{y:.5g}<extra></extra>",
    )
    figure.update_xaxes(range=[low - room, high + room])
    return figure.update_yaxes(range=[low - room, high + room])


def _diagonal(figure: Figure, low: float, high: float, name: str) -> None:
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        name=name,
        line={"color": SOFT, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )


def says_of_confusion(confusion: Confusion) -> str:
    """What the matrix shows, in words."""
    text = f"Test examples by true and predicted class: {confusion.wrong} of {confusion.examples} lie off the diagonal"
    if confusion.pairs:
        worst = confusion.pairs[0]
        text += f"; the most frequent mistake is {worst.said} said of {worst.true}, {worst.count} times"
    return f"{text}."


def says_of_reliability(reliability: Reliability) -> str:
    """What the diagram shows, in words."""
    ends = (reliability.bins[0], reliability.bins[-1])
    each = "; ".join(f"of {one.count} predictions with {one.confidence:.0%} {one.share:.0%} are right" for one in ends)
    return f"Share of right predictions over their confidence, beside the diagonal: {each}."


def says_of_residuals(residuals: Residuals, name: str) -> str:
    """What the points show, in words."""
    low, high = number(residuals.low, 3), number(residuals.high, 3)
    what = f" of {name}" if name else ""
    return f"Predicted over actual values{what}, beside the diagonal: 9 of 10 differ by {low} to {high}."


def plot_id(kind: str, index: int, every: tuple[Diagnostics, ...]) -> str:
    """The id of a target's plot on the page."""
    return kind if len(every) == 1 else f"{kind}-{index + 1}"
