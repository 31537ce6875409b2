"""The report's plots, as plotly figures; the only place that imports plotly, and only when a plot is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.range_test import Tried
from lab.record.trials import TrialRow
from lab.report.cost import StageCost
from lab.report.number import number
from lab.response.findings import Effect, Importance, Surface
from lab.schedules import Schedule
from lab.stages.bounds import Bounds
from lab.stages.ensemble import Baseline, Control
from lab.stages.job import best_first

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK, ACCENT, SOFT, WARN = "#1f2933", "#2563eb", "#64748b", "#dc2626"
PALETTE = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#db2777", "#0891b2")
"""All but INK, which the page sets anew on dark, can be told from white as well as from the page's dark paper."""
SURFACE = [[0.0, "#fef3c7"], [0.5, "#5eead4"], [1.0, "#38bdf8"]]
ON_SURFACE = "#111827"
"""Letters on a surface of these colours, which are light on any page."""
MOST = 2000
"""Trials that a plot shows one by one: more are a blot that a browser is slow with."""
_MOST_CURVES = 300
_FAR = 1.5
"""Times the span of the controls beyond which a baseline has no place on their axis."""


def blank(x: str, y: str, **layout: Any) -> Figure:
    """A figure with nothing in it yet, in the report's style, with the titles of its axes."""
    from plotly.graph_objects import Figure
    from plotly.io import templates

    style = {
        "template": templates["plotly_white"],
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "margin": {"l": 64, "r": 16, "t": 16, "b": 48},
        "height": 340,
        "xaxis": {"title": {"text": x}, "zeroline": False},
        "yaxis": {"title": {"text": y}, "zeroline": False},
        "legend": {"orientation": "h", "y": 1.12, "x": 0},
    }
    # Plotly checks its own template again for each figure, which takes longer than all else of one.
    figure = Figure(layout=style | layout, _validate=False)
    figure._validate = figure.layout._validate = True
    return figure


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether values have a place on an axis of numbers; truth values do not."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def sampled(rows: Sequence[TrialRow], direction: str, most: int = MOST) -> Sequence[TrialRow]:
    """At most so many of the trials, in their order: a tenth of them the best, the others evenly over the search."""
    if len(rows) <= most:
        return rows
    best = {row.number for row in best_first([row for row in rows if row.score is not None], direction)[: most // 10]}
    rest = [row for row in rows if row.number not in best]
    evenly = {rest[int(at)].number for at in np.linspace(0, len(rest) - 1, most - len(best))}
    return [row for row in rows if row.number in best or row.number in evenly]


def _band(figure: Figure, x: Sequence[Any], low: Sequence[float], high: Sequence[float], color: str) -> None:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.15)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def range_test_figure(bounds: Bounds) -> Figure:
    """Smoothed loss against learning rate, a band over seeds per weight decay; the suggestion, its interval, the range
    to search, what other rules suggest, and on a scale of their own the scores of short trainings."""
    figure = blank("learning rate", "training loss (smoothed)")
    runs = bounds.runs
    tops = []
    for index, decay in enumerate(sorted({run.weight_decay for run in runs})):
        mine = [run for run in runs if run.weight_decay == decay and run.smoothed]
        if not mine:
            continue
        color = PALETTE[index % len(PALETTE)]
        length = min(len(run.smoothed) for run in mine)
        losses = np.array([run.smoothed[:length] for run in mine])
        lrs = mine[0].lrs[:length]
        tops.append(float(losses[:, 0].max()))
        _band(figure, lrs, losses.min(axis=0).tolist(), losses.max(axis=0).tolist(), color)
        figure.add_scatter(
            x=lrs,
            y=np.median(losses, axis=0).tolist(),
            name=f"weight decay {decay:g}",
            line={"color": color, "width": 2},
        )
    figure.update_xaxes(type="log", exponentformat="power", dtick=1)
    top = 1.4 * max(tops, default=1.0)
    figure.update_yaxes(range=[0, top])
    readings = [run.rules for run in runs if run.rules]
    medians = {
        rule: float(np.exp(np.median([np.log(rules[rule]) for rules in readings]))) for rule in (readings or [{}])[0]
    }
    marks = dict(sorted(medians.items(), key=lambda item: item[1]))
    figure.add_scatter(
        x=list(marks.values()),
        y=[0.09 * top * (1 + i % 3) for i in range(len(marks))],  # a label's height apart
        text=list(marks),
        mode="markers+text",
        textposition="top center",
        marker={"symbol": "triangle-down", "color": SOFT, "size": 9},
        hovertemplate="%{text}: %{x:.3g}<extra></extra>",
        name="other rules (medians)",
    )
    if bounds.sure:
        figure.add_vrect(x0=bounds.sure[0], x1=bounds.sure[1], fillcolor=INK, opacity=0.15, line_width=0)
    suggestion = bounds.suggestion
    figure.add_vline(x=suggestion, line={"color": INK, "width": 2})
    figure.add_annotation(  # plotly takes an annotation's place on a log axis as its logarithm
        x=float(np.log10(suggestion)), y=0.97, yref="paper", text=f"max_lr {suggestion:.2g}", showarrow=False, xshift=48
    )
    figure.add_vrect(x0=bounds.low, x1=bounds.high, fillcolor=ACCENT, opacity=0.06, line_width=0)
    for end in (bounds.low, bounds.high):
        figure.add_vline(x=end, line={"color": ACCENT, "dash": "dot", "width": 1})
    if bounds.tried:
        _add_short_trainings(figure, bounds.tried)
    return figure


def _add_short_trainings(figure: Figure, tried: Sequence[Tried]) -> None:
    """The score of each, on an axis at the right; one that diverged has none."""
    scores = [(one.lr, score) for one in tried for score in one.scores if score is not None]
    figure.add_scatter(
        x=[lr for lr, _ in scores],
        y=[score for _, score in scores],
        yaxis="y2",
        mode="markers",
        name="short 1cycle trainings (right)",
        marker={"symbol": "diamond-open", "color": INK, "size": 8},
        hovertemplate="max_lr %{x:.3g}: %{y:.4g}<extra></extra>",
    )
    figure.update_layout(
        margin={"r": 64},
        yaxis2={
            "title": {"text": "score"},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "zeroline": False,
            "tickformat": ".3g",
        },
    )


def history_figure(rows: Sequence[TrialRow], metric: str, direction: str) -> Figure:
    """Every trial's score in the order of proposal, the best so far, and diverged trials at the foot."""
    figure = blank("trial", metric)
    completed = [row for row in rows if row.score is not None]
    every = [row.score for row in completed if row.score is not None]
    scored = sampled(completed, direction)
    scores = [row.score for row in scored if row.score is not None]
    text = ["<br>".join(f"{k} = {number(v)}" for k, v in row.params.items()) for row in scored]
    figure.add_scatter(
        x=[row.number for row in scored],
        y=scores,
        mode="markers",
        name="completed",
        text=text,
        hovertemplate="trial %{x}: %{y:.4f}<br>%{text}<extra></extra>",
        marker={"color": ACCENT, "size": 7},
    )
    best = (np.maximum if direction == "maximize" else np.minimum).accumulate(np.array(scores))
    figure.add_scatter(
        x=[r.number for r in scored],
        y=best.tolist(),
        mode="lines",
        name="best so far",
        line={"color": INK, "shape": "hv"},
    )
    rest = sampled([row for row in rows if row.score is None], direction)
    if rest:
        foot = min(scores, default=0.0) if direction == "maximize" else max(scores, default=0.0)
        figure.add_scatter(
            x=[row.number for row in rest],
            y=[foot] * len(rest),
            mode="markers",
            name="without a score",
            text=[str(row.outcome) for row in rest],
            hovertemplate="trial %{x}: %{text}<extra></extra>",
            marker={"color": WARN, "symbol": "x", "size": 8},
        )
    _focus(figure, every, direction)
    return figure


def _focus(figure: Figure, scores: Sequence[float], direction: str) -> None:
    """Where a few bad trials would flatten the rest, show the better nine tenths; the rest is a zoom away."""
    if len(scores) < 10:
        return
    low, high = min(scores), max(scores)
    cut = float(np.quantile(scores, 0.1 if direction == "maximize" else 0.9))
    inner = (high - cut) if direction == "maximize" else (cut - low)
    if inner <= 0 or (high - low) < 3 * inner:
        return
    margin = 0.25 * inner
    figure.update_yaxes(
        range=[cut - margin, high + margin] if direction == "maximize" else [low - margin, cut + margin]
    )


_MEASURES = {
    "permutation": "permutation, interactions included",
    "fanova": "fANOVA, by itself",
    "ped_anova": "PED-ANOVA, to be among the best",
    "good_region": "permutation, among the best quarter",
}


def importance_figure(measures: Mapping[str, Mapping[str, Importance]]) -> Figure:
    """Share of each hyperparameter by every measure, the most important on top, with its 10-90 % interval."""
    first = measures["permutation"]
    ordered = sorted(first, key=lambda name: first[name].share)
    figure = blank("share", "", height=120 + 76 * len(ordered), barmode="group")
    colors = zip(_MEASURES.items(), (ACCENT, "#059669", "#d97706", "#7c3aed"), strict=True)
    for (measure, label), color in reversed(list(colors)):
        shares = [measures.get(measure, {}).get(name) for name in ordered]
        figure.add_bar(
            x=[one.share if one else None for one in shares],
            y=ordered,
            orientation="h",
            name=label,
            marker={"color": color},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.share if one else 0 for one in shares],
                "arrayminus": [one.share - one.low if one else 0 for one in shares],
                "color": INK,
                "thickness": 1,
            },
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    # At the figure's top edge: as a share of the plot, whose height follows from the bars, it would touch the first.
    legend = {"traceorder": "reversed", "yref": "container", "y": 1, "yanchor": "top"}
    figure.update_layout(legend=legend, margin={"t": 36})
    return figure


def effect_figure(effect: Effect, metric: str) -> Figure:
    """Partial dependence with the trees' 10-90 % band over single settings; grey where no trial lies near."""
    name, values = effect.name, effect.values
    figure = blank(name, metric, height=280)
    numeric = are_numbers(values) and len(values) > 10
    colors = [ACCENT if count else SOFT for count in effect.support]
    hover = [f"{count} trials near" for count in effect.support]
    if numeric:
        for curve in effect.ice:
            figure.add_scatter(
                x=values,
                y=curve,
                mode="lines",
                line={"color": SOFT, "width": 0.7},
                hoverinfo="skip",
                showlegend=False,
            )
        _band(figure, values, effect.low, effect.high, ACCENT)
        figure.add_scatter(
            x=values,
            y=effect.mean,
            mode="lines+markers",
            line={"color": ACCENT, "width": 2},
            marker={"color": colors, "size": 6},
            text=hover,
            hovertemplate="%{x:.3g}: %{y:.4f}<br>%{text}<extra></extra>",
            showlegend=False,
        )
        if effect.log:
            figure.update_xaxes(type="log", exponentformat="power", dtick=1)
    else:
        mean = np.asarray(effect.mean)
        figure.add_scatter(
            x=[str(v) for v in values],
            y=effect.mean,
            mode="markers",
            marker={"color": colors, "size": 10},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (np.asarray(effect.high) - mean).tolist(),
                "arrayminus": (mean - np.asarray(effect.low)).tolist(),
                "color": SOFT,
            },
            text=hover,
            hovertemplate="%{x}: %{y:.4f}<br>%{text}<extra></extra>",
            showlegend=False,
        )
        figure.update_xaxes(type="category")
    return figure


def surface_figure(surface: Surface, metric: str) -> Figure:
    """Partial dependence on a pair as contours, greyed where no trial lies near."""
    (x_name, y_name), (x_log, y_log) = surface.names, surface.log
    figure = blank(x_name, y_name, height=420)
    axes = [
        [str(v) for v in values] if len(values) <= 10 or isinstance(values[0], (str, bool)) else values
        for values in (surface.x, surface.y)
    ]
    figure.add_contour(
        x=axes[0],
        y=axes[1],
        z=surface.mean,
        colorscale=SURFACE,
        line={"width": 0.5},
        contours={"showlabels": True, "labelfont": {"size": 11, "color": ON_SURFACE}},
        colorbar={"title": {"text": metric}},
        customdata=surface.support,
        hovertemplate=f"{x_name} %{{x}}<br>{y_name} %{{y}}<br>%{{z:.4g}}, %{{customdata}} trials near<extra></extra>",
    )
    thin = [[0 if count else 1 for count in row] for row in surface.support]
    if any(map(any, thin)):
        figure.add_contour(
            x=axes[0],
            y=axes[1],
            z=thin,
            contours={"type": "constraint", "operation": "<", "value": 0.5},  # plotly greys what does not meet it
            fillcolor="rgba(203,213,225,0.85)",
            line={"width": 0},
            showscale=False,
            showlegend=False,
            hoverinfo="skip",
        )
    for update, log, values in ((figure.update_xaxes, x_log, axes[0]), (figure.update_yaxes, y_log, axes[1])):
        if isinstance(values[0], str):
            update(type="category")
        elif log:
            update(type="log", exponentformat="power", dtick=1, range=np.log10([values[0], values[-1]]).tolist())
        else:
            update(range=[values[0], values[-1]])
    return figure


def curves_figure(rows: Sequence[TrialRow], metric: str, best: Sequence[int]) -> Figure:
    """Score after every epoch; the best trials in colour, so that it shows how early they could be told."""
    figure = blank("epoch", metric)
    others = [row for row in rows if row.curve and row.number not in best]
    for row in others[:: -(-len(others) // _MOST_CURVES) or 1]:
        figure.add_scatter(
            x=list(row.curve),
            y=list(row.curve.values()),
            mode="lines",
            line={"color": SOFT, "width": 0.7},
            hoverinfo="skip",
            showlegend=False,
        )
    for rank, trial in enumerate(best):
        row = next(r for r in rows if r.number == trial)
        color = PALETTE[rank % len(PALETTE)]
        figure.add_scatter(
            x=list(row.curve),
            y=list(row.curve.values()),
            mode="lines" if len(row.curve) > 1 else "lines+markers",
            name=f"trial {trial}",
            line={"color": color, "width": 2},
        )
    finals = [list(row.curve.values())[-1] for row in rows if row.curve]
    _focus(figure, finals, "maximize" if np.median(finals or [0]) >= np.mean(finals or [0]) else "minimize")
    return figure


def schedules_figure(schedules: Mapping[str, Schedule], epochs: int) -> Figure:
    """Learning rate over a training, for each named schedule."""
    figure = blank("epoch", "learning rate")
    total = max(200, epochs)
    for index, (name, schedule) in enumerate(schedules.items()):
        lr = schedule.curves(None, total).lr
        x = np.linspace(0, epochs, total)
        color = PALETTE[index % len(PALETTE)]
        figure.add_scatter(x=x.tolist(), y=lr.tolist(), name=name, line={"color": color, "width": 2})
    return figure


def cost_figure(costs: Sequence[StageCost]) -> Figure:
    """How long each stage trained, or where no times are known how many epochs, the first stage on top."""
    timed = any(one.training_s for one in costs)
    longest = max((one.training_s for one in costs), default=0.0)
    unit, size = ("hours", 3600) if longest >= 7200 else ("minutes", 60) if longest >= 120 else ("seconds", 1)
    figure = blank(f"{unit} of training" if timed else "epochs", "", height=100 + 32 * len(costs))
    figure.add_bar(
        x=[one.training_s / size if timed else one.epochs for one in costs][::-1],
        y=[one.stage for one in costs][::-1],
        orientation="h",
        marker={"color": ACCENT},
        text=[f"{one.trainings} trainings, {one.epochs} epochs" for one in costs][::-1],
        textposition="none",
        hovertemplate="%{y}: %{x:.3g}<br>%{text}<extra></extra>",
        showlegend=False,
    )
    return figure


def controls_figure(rows: Sequence[Control], handed: float, metric: str, baselines: Sequence[Baseline] = ()) -> Figure:
    """Test score of every way to spend a budget, each seed's spread; below them models of other kinds, trained on what
    the models handed out were trained on; and what is handed out as a line."""
    others = [(b.name, b.like_handed_out[metric]) for b in baselines if isfinite(b.like_handed_out.get(metric, nan))]
    names = [row.name for row in rows][::-1]
    tests = [row.test[metric] for row in rows][::-1]
    ends = [handed, *(t.mean + side * (t.std or 0) for t in tests for side in (-1, 1))]
    span = (max(ends) - min(ends)) or 0.1 * abs(handed) or 1.0
    # A constant that knows nothing would press all else together: far ones stand at the edge, with their score.
    low, high = min(ends) - _FAR * span, max(ends) + _FAR * span
    ends += [score for _, score in others if low <= score <= high]
    low, high = min(ends), max(ends)
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    figure = blank(f"test {metric}", "", height=100 + 44 * len(rows) + 30 * len(others))
    if others:
        figure.add_scatter(
            x=[min(max(score, low - room / 2), high + room / 2) for _, score in others][::-1],
            y=[f"baseline: {name}{'' if low <= s <= high else f', {number(s, 3)}'}" for name, s in others][::-1],
            text=[number(score) for _, score in others][::-1],
            mode="markers",
            marker={"color": PALETTE[1], "symbol": "diamond", "size": 9},
            hovertemplate="%{y}: %{text}<extra></extra>",
            showlegend=False,
        )
    figure.add_scatter(
        x=[t.mean for t in tests],
        y=names,
        mode="markers",
        marker={"color": ACCENT, "size": 10},
        error_x={"type": "data", "array": [t.std or 0 for t in tests], "color": SOFT},
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        showlegend=False,
    )
    left = handed > (low + high) / 2  # where the label has room: beside the line it would widen the range
    figure.add_vline(
        x=handed,
        line={"color": INK, "dash": "dot", "width": 1},
        annotation_text="handed out",
        annotation_position="top left" if left else "top right",
    )
    figure.update_layout(margin={"t": 36})  # the label's
    return figure.update_xaxes(range=[low - room, high + room], nticks=6)
