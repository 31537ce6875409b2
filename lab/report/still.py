"""A plotly figure as a still picture, for a page that is read without JavaScript: SVG, drawn by matplotlib.

Kaleido, which draws exactly what plotly draws, starts a browser for it: seconds, on machines that often have none.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from html import unescape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

WIDTH = 900
"""Pixels of a page's column."""
_DOTS_PER_INCH = 100
_POINTS_PER_PIXEL = 72 / _DOTS_PER_INCH
_MOST_OUTLINES = 500
"""Points above which they are kept as an image within the picture: an outline of each would be long."""
_LETTERS_IN_A_LINE = 90
_MARKS = {"x": "x", "triangle-down": "v", "diamond": "D", "diamond-open": "D"}
_DASHES = {"dot": ":", "dash": "--"}
_BETWEEN = re.compile(rb">\s+<")
_PATH = re.compile(rb' d="[^"]*"')
_LONG = re.compile(rb"(\.\d)\d+")
"""Decimals beyond a tenth of a point, which nobody sees and which are half of a picture of many curves."""
_IMAGE = re.compile(rb"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
_COLORS = 48
_CROWD = 100
"""Lines above which they are kept as an image too."""
_LEANING: Any = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: short, and in the reader's own font
    "svg.hashsalt": "lab",  # the same figure gives the same bytes
    "text.parse_math": False,  # a dollar sign in a name is one
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#94a3b8",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e2e8f0",
    "axes.axisbelow": True,
}


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def still(figure: Figure, width: int = WIDTH) -> bytes:
    """A figure of this package's plots as SVG, about so many pixels wide, on white.

    It knows what these plots use: lines, points, areas, bars lying down, contours, heat maps, vertical lines and spans,
    notes.

    Raises:
        ImportError: matplotlib is not there.
        KeyError: a kind of trace that none of the plots has.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    height = figure.layout.height or 340
    with rc_context(_STYLE):
        canvas = Canvas(figsize=(width / _DOTS_PER_INCH, height / _DOTS_PER_INCH), dpi=_DOTS_PER_INCH)
        plots: dict[tuple[str, str], _Plot] = {}
        for trace in figure.data:
            names = (trace.xaxis or "x", trace.yaxis or "y")
            if names not in plots:
                plots[names] = _Plot(canvas, figure, names, next(iter(plots.values()), None))
            plots[names].draw(trace)
        first = next(iter(plots.values()), None)
        if first is not None:
            first.finish(figure, list(plots.values()))
        written = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # an emoji; a browser draws its own
            canvas.savefig(written, format="svg", bbox_inches="tight", pad_inches=0.08, metadata={"Date": None})
    short = _PATH.sub(lambda match: _LONG.sub(rb"\1", match[0]), _BETWEEN.sub(b"><", written.getvalue()))
    return _IMAGE.sub(_fewer_colors, short)


def _fewer_colors(match: re.Match[bytes]) -> bytes:
    """An image within a picture with as many colours as an eye tells apart in it: a third of its size."""
    from PIL import Image

    packed = io.BytesIO()
    whole = Image.open(io.BytesIO(base64.b64decode(match[1])))
    whole.convert("RGBA").quantize(_COLORS).save(packed, format="PNG", optimize=True)
    return b"data:image/png;base64," + base64.b64encode(packed.getvalue())


class _Plot:
    """A pair of axes of a figure, and what is drawn on them."""

    def __init__(self, canvas: Any, figure: Figure, names: tuple[str, str], first: _Plot | None) -> None:
        layout = figure.layout
        self.canvas = canvas
        self.x, self.y = (layout[name[0] + "axis" + name[1:]] for name in names)
        self.bars = [trace for trace in figure.data if trace.type == "bar"]
        self.crowded = sum(trace.type == "scatter" for trace in figure.data) > _CROWD
        self.overlays = bool(self.y.overlaying) and first is not None
        if self.overlays:
            assert first is not None
            self.axes: Any = first.axes.twinx()
            self.axes.spines["right"].set_visible(True)
        else:
            (left, right), (low, high) = (axis.domain or (0.0, 1.0) for axis in (self.x, self.y))
            foot, top = 60 / (layout.height or 340), 1 - 34 / (layout.height or 340)
            box = (0.07 + 0.91 * left, foot + (top - foot) * low, 0.91 * (right - left), (top - foot) * (high - low))
            self.axes = canvas.add_axes(box)
        self.categories: dict[str, dict[str, int]] = {"x": {}, "y": {}}
        self.whole = {"x": True, "y": True}
        """Whether all values are whole numbers, as of epochs."""

    def draw(self, trace: Any) -> None:
        {"scatter": self._scatter, "bar": self._bar, "contour": self._contour, "heatmap": self._heatmap}[trace.type](
            trace
        )

    def _values(self, letter: str, values: Iterable[Any]) -> Any:
        """Values as places on an axis; texts stand at whole numbers in the order in which they come."""
        values = list(values)
        if not any(isinstance(value, str) for value in values):
            self.whole[letter] = self.whole[letter] and all(isinstance(value, (int, np.integer)) for value in values)
            return np.array([np.nan if value is None else value for value in values], dtype=float)
        ticks = self.categories[letter]
        return np.array([ticks.setdefault(value, len(ticks)) for value in values], dtype=float)

    def _scatter(self, trace: Any) -> None:
        x, y = self._values("x", trace.x), self._values("y", trace.y)
        line, marker, label = trace.line, trace.marker, trace.name if trace.showlegend is not False else None
        if trace.fill == "toself":
            self.axes.fill(x, y, color=_color(trace.fillcolor), linewidth=0)
            return
        shown = trace.mode or "lines"
        if "lines" in shown:
            self.axes.plot(
                x,
                y,
                color=_color(line.color or marker.color),
                linewidth=(line.width or 2) * _POINTS_PER_PIXEL,
                linestyle=_DASHES.get(line.dash or "", "-"),
                drawstyle="steps-post" if line.shape == "hv" else "default",
                alpha=trace.opacity,
                label=label,
                rasterized=len(x) > _MOST_OUTLINES or (label is None and self.crowded),
            )
        if "markers" in shown:
            self._points(trace, x, y, None if "lines" in shown else label)
        if "text" in shown:
            over, side = ((0, 0), "center") if trace.textposition == "middle center" else ((0, 5), "baseline")
            size = 8.5 * (trace.textfont.size or 12) / 12
            for x_at, y_at, text in zip(x, y, trace.text, strict=True):
                at, style = (x_at, y_at), {"ha": "center", "va": side, "fontsize": size}
                self.axes.annotate(unescape(text), at, over, textcoords="offset points", **style)

    def _points(self, trace: Any, x: Any, y: Any, label: str | None) -> None:
        marker = trace.marker
        colors: Any
        if isinstance(marker.color, str):
            colors = {"color": _color(marker.color)}
        elif marker.colorscale:
            colors = {"c": list(marker.color), "cmap": _color_map(marker.colorscale)}
        else:
            colors = {"color": [_color(color) for color in marker.color]}
        sizes = np.asarray(6 if marker.size is None else marker.size, dtype=float)
        hollow = {"facecolors": "none"} if str(marker.symbol).endswith("-open") else {}
        self.axes.scatter(
            x,
            y,
            s=(sizes * _POINTS_PER_PIXEL) ** 2,
            alpha=marker.opacity,
            marker=_MARKS.get(str(marker.symbol), "o"),
            label=label,
            zorder=3,
            rasterized=len(x) > _MOST_OUTLINES,
            **({"edgecolors": colors["color"]} if hollow else colors),
            **hollow,
        )
        for letter in ("x", "y"):
            error = trace[f"error_{letter}"]
            if error.array is not None:
                self.axes.errorbar(x, y, **{f"{letter}err": _ends(error)}, fmt="none", ecolor=error.color, capsize=3)

    def _bar(self, trace: Any) -> None:
        y, x = self._values("y", trace.y), self._values("x", trace.x)
        thick = 0.8 / len(self.bars)
        at = y + thick * (self.bars.index(trace) - (len(self.bars) - 1) / 2)
        self.axes.barh(at, x, 0.92 * thick, color=trace.marker.color, label=trace.name)
        if trace.error_x.array is not None:
            self.axes.errorbar(x, at, xerr=_ends(trace.error_x), fmt="none", ecolor=trace.error_x.color, linewidth=1)

    def _contour(self, trace: Any) -> None:
        x, y, z = self._values("x", trace.x), self._values("y", trace.y), np.array(trace.z, dtype=float)
        if trace.contours.type == "constraint":
            self.axes.contourf(x, y, z, levels=[0.5, 2], colors=[_color(trace.fillcolor)])
            return
        filled = self.axes.contourf(x, y, z, levels=12, cmap=_color_map(trace.colorscale))
        lines = self.axes.contour(x, y, z, levels=filled.levels, colors="#475569", linewidths=0.4)
        self.axes.clabel(lines, fontsize=8, colors=trace.contours.labelfont.color)
        self.canvas.colorbar(filled, ax=self.axes, label=trace.colorbar.title.text)

    def _heatmap(self, trace: Any) -> None:
        x, y, z = self._values("x", trace.x), self._values("y", trace.y), np.array(trace.z, dtype=float)
        self.axes.pcolormesh(
            x, y, z, cmap=_color_map(trace.colorscale), vmin=trace.zmin, vmax=trace.zmax, edgecolors="w", linewidth=1
        )

    def finish(self, figure: Figure, plots: Sequence[_Plot]) -> None:
        """What stands around and above the traces: lines, spans, notes, scales, titles, the legend."""
        for plot in plots:
            plot._scales()
        for shape in figure.layout.shapes:
            dash = _DASHES.get(shape.line.dash or "", "-")
            if shape.type == "line":
                width = (shape.line.width or 1) * _POINTS_PER_PIXEL
                self.axes.axvline(shape.x0, color=shape.line.color, linestyle=dash, linewidth=width)
            else:
                color, alpha = _color(shape.fillcolor), shape.opacity
                self.axes.axvspan(shape.x0, shape.x1, facecolor=color, alpha=alpha, linewidth=0)
        for note in figure.layout.annotations:
            x = 10**note.x if self.x.type == "log" else note.x
            over = self.axes.get_xaxis_transform() if note.yref != "y" else self.axes.transData
            moved, side = ((note.xshift or 0) * _POINTS_PER_PIXEL, 0), note.xanchor or "center"
            self.axes.annotate(note.text, (x, note.y), moved, over, "offset points", ha=side, va="center", fontsize=8.5)
        both = [plot.axes.get_legend_handles_labels() for plot in plots]
        handles, labels = ([one for pair in both for one in pair[at]] for at in (0, 1))
        if labels and figure.layout.showlegend is not False:
            columns = 6 if sum(map(len, labels)) < _LETTERS_IN_A_LINE else 2
            anchor = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": columns, "frameon": False}
            self.axes.legend(handles, labels, **anchor)

    def _scales(self) -> None:
        if not self.overlays:
            for letter, axis in (("x", self.x), ("y", self.y)):
                if axis.showgrid is not False:
                    self.axes.grid(axis=letter, linewidth=0.6)
        for letter, axis in (("x", self.x), ("y", self.y)):
            if letter == "x" and self.overlays:
                continue  # the first one's
            mine = getattr(self.axes, f"{letter}axis")
            if axis.title.text:
                mine.set_label_text(axis.title.text)
            if axis.type == "log":
                getattr(self.axes, f"set_{letter}scale")("log")
                mine.set_major_formatter("{x:g}")
            elif axis.tickformat == ".0%":
                mine.set_major_formatter(lambda value, _: f"{value:.0%}")
            if axis.range is not None:
                ends = [10**end for end in axis.range] if axis.type == "log" else axis.range
                getattr(self.axes, f"set_{letter}lim")(*ends)
            elif axis.type != "log" and self.whole[letter]:
                mine.get_major_locator().set_params(integer=True)
            if axis.tickvals is not None:
                texts = [unescape(text) for text in axis.ticktext]
                leans = letter == "x" and sum(map(len, texts)) > _LETTERS_IN_A_LINE
                mine.set_ticks(list(axis.tickvals), labels=texts, **(_LEANING if leans else {}))
            elif ticks := self.categories[letter]:
                mine.set_ticks(list(ticks.values()), labels=list(ticks))
            if axis.showticklabels is False:
                mine.set_ticks([])


def _ends(error: Any) -> Any:
    """How far an error bar goes down and up, [2, n]."""
    up = list(error.array)
    return np.abs(np.array([up if error.arrayminus is None else list(error.arrayminus), up], dtype=float))


def _color(text: str) -> Any:
    """A colour as CSS writes it, for matplotlib."""
    numbers = re.findall(r"[\d.]+", text) if text.startswith("rgb") else []
    if not numbers:
        return text
    return (*(float(number) / 255 for number in numbers[:3]), *map(float, numbers[3:]))


def _color_map(scale: Sequence[tuple[float, str]]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("scale", [(at, _color(color)) for at, color in scale])
