"""The pictures of `docs/ideas.md`, drawn from a finished study of `studies/digits.yaml`.

lab study run studies/digits.yaml --engine local --dir runs/digits
python docs/pictures.py runs/digits
"""

from __future__ import annotations

import sys
from pathlib import Path

import plotly.graph_objects as go

from lab.record.folder import write_bytes
from lab.report.plots import ACCENT, PALETTE, SOFT, blank, effect_figure
from lab.report.still import still
from lab.schedules import OneCycle, Snapshot
from lab.stages import confirm, explain
from lab.study.study import Study

_WIDTH = 700
_STEPS = 600


def schedules() -> go.Figure:
    """1cycle, and three cycles whose ends leave a snapshot each."""
    figure = blank("optimizer step", "learning rate")
    for index, schedule in enumerate((OneCycle(max_lr=0.02), Snapshot(max_lr=0.02, cycles=3))):
        rates, color = schedule.curves(None, _STEPS).lr, PALETTE[index]
        name = "1cycle" if index == 0 else "3 cycles"
        figure.add_scatter(x=list(range(_STEPS)), y=rates.tolist(), name=name, line={"color": color, "width": 2})
    ends = list(schedule.cycle_ends(_STEPS))
    bottoms = [float(rates[end]) for end in ends]
    figure.add_scatter(x=ends, y=bottoms, mode="markers", name="a snapshot", marker={"color": PALETTE[1], "size": 9})
    return figure


def confirmed(study: Study) -> go.Figure:
    """The candidates' scores in the search, and what fresh seeds made of them."""
    artefact = confirm.STAGE.need(study.record)
    raced = [one for one in artefact.candidates if one.observed is not None and one.summary is not None]
    names = [f"{one.kind.replace('_', ' ')}, trial {one.trial}" for one in raced][::-1]
    figure = blank(artefact.metric, "", height=120 + 34 * len(names))
    figure.add_scatter(
        x=[one.observed for one in raced][::-1],
        y=names,
        mode="markers",
        name="in the search",
        marker={"color": SOFT, "size": 9, "symbol": "x"},
    )
    summaries = [one.summary for one in raced if one.summary is not None][::-1]
    figure.add_scatter(
        x=[one.mean for one in summaries],
        y=names,
        mode="markers",
        name="on fresh seeds",
        marker={"color": ACCENT, "size": 9},
        error_x={"type": "data", "array": [one.std or 0 for one in summaries], "color": ACCENT},
    )
    return figure


def main(folder: Path) -> None:
    """Draw all of them."""
    study = Study.open(folder)
    plots = study.result.plot
    explained = explain.STAGE.need(study.record)
    assert isinstance(explained, explain.Explained), "the forest says nothing of this study"
    rate = next(effect for effect in explained.effects if effect.name == "max_lr")
    pictures = {
        "range_test": plots.range_test(),
        "schedules": schedules(),
        "response": effect_figure(rate, explained.explains),
        "confirmed": confirmed(study),
        "controls": plots.controls(),
    }
    for name, figure in pictures.items():
        write_bytes(Path(__file__).parent / "pictures" / f"{name}.svg", still(figure, _WIDTH))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
