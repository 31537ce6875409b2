"""The contours of a pair: on scales of its own, grey only where no trial lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.range_test import Tried
from lab.report import plots
from lab.report.plots import range_test_figure, surface_figure
from lab.response.findings import Importance, Surface
from lab.stages.bounds import Bounds


def surface(**changes: Any) -> Surface:
    rates = [10.0 ** (-3 + i / 7) for i in range(15)]
    plain = Surface(
        names=("max_lr", "model"),
        x=tuple(rates),
        y=("mlp", "cnn"),
        mean=(tuple(0.1 * i for i in range(15)), tuple(0.2 * i for i in range(15))),
        support=((1,) * 15, (2,) * 15),
        log=(True, False),
    )
    return replace(plain, **changes)


def test_where_every_point_has_a_trial_nothing_is_grey():
    figure = surface_figure(surface(), "accuracy")
    assert [trace.type for trace in figure.data] == ["contour"]
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.range == pytest.approx((-3, -1))
    assert figure.layout.yaxis.type == "category"


def test_points_without_a_trial_are_the_grey_ones():
    _, grey = surface_figure(surface(support=((0, *[1] * 14), (1,) * 15)), "accuracy").data
    assert list(grey.z[0]) == [1, *[0] * 14]
    assert list(grey.z[1]) == [0] * 15


@pytest.mark.parametrize("count", [1, 4, 9])
def test_the_importances_legend_stands_above_the_bars_however_many_there_are(count: int):
    shares = {f"h{i}": Importance(share=0.1, low=0.0, high=0.2) for i in range(count)}
    layout = plots.importance_figure({"permutation": shares}).layout
    assert (layout.legend.yref, layout.legend.y, layout.legend.yanchor) == ("container", 1, "top")
    assert layout.margin.t >= 2 * layout.font.size  # a line of text, and some air


def test_short_trainings_have_a_scale_of_their_own_and_those_that_diverged_are_left_out():
    tested = Bounds(suggestion=0.01, sure=None, low=1e-3, high=0.3, weight_decay=None, verdict="", runs=())
    figure = range_test_figure(replace(tested, tried=(Tried(0.01, (0.8, 0.9)), Tried(0.1, (0.7, None)))))
    assert list(figure.data[-1].x) == [0.01, 0.01, 0.1]
    assert list(figure.data[-1].y) == [0.8, 0.9, 0.7]
    assert figure.data[-1].yaxis == "y2"
    assert figure.layout.yaxis2.title.text == "score"
