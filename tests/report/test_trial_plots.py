"""Trials as lines and as slices: the numbers that are drawn are those of the trials."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import RecordError
from lab.report.trial_plots import parallel_figure, slice_figure
from lab.spec.trial import Outcome, Trial
from lab.study.study import Study
from tests.small import small_spec

VALUES: list[dict[str, Any]] = [
    {"max_lr": 0.001, "dropout": 0.2, "flip": True, "beta2": 0.9},
    {"max_lr": 0.1, "dropout": 0.4, "flip": False},
    {"max_lr": 0.01, "dropout": 0.3, "flip": True},
    {"max_lr": 0.05, "dropout": 0.1, "flip": False},
]


def _row(number: int, params: dict[str, Any], score: float | None) -> Any:
    from lab.record.trials import TrialRow

    trial = Trial(params, number, 3, "search")
    return TrialRow(number=number, trial=trial, outcome=Outcome.COMPLETED, score=score)


ROWS = [_row(i, params, score) for i, (params, score) in enumerate(zip(VALUES, (0.5, 0.9, 0.7, None), strict=True))]


@pytest.mark.parametrize(("direction", "best_first"), [("maximize", [1, 2, 0]), ("minimize", [0, 2, 1])])
def test_a_line_goes_through_what_a_trial_has_and_the_best_lies_above(direction: str, best_first: list[int]):
    figure = parallel_figure(ROWS, ["max_lr", "dropout", "flip", "beta2"], "accuracy", direction)
    assert list(figure.layout.xaxis.ticktext) == ["max_lr", "dropout", "flip", "accuracy"], "beta2 is of one"
    heights = {0: (0, 0, 0, 0), 1: (1, 1, 1, 1), 2: (0.5, 0.5, 0, 0.5)}
    flips = dict.fromkeys((i for i in (0, 1, 2) if VALUES[i]["flip"] == VALUES[best_first[0]]["flip"]), 0.0)
    for line, number in zip(reversed(figure.data), best_first, strict=True):
        lr, dropout, _, score = heights[number]
        assert list(line.y) == pytest.approx([lr, dropout, flips.get(number, 1.0), score])
        assert line.hovertemplate.startswith(f"trial {number}: accuracy ")
    assert {note.text for note in figure.layout.annotations} == {
        *("0.001", "0.1", "0.2", "0.4", "True", "False", "0.5", "0.9")
    }


def test_of_very_many_trials_the_best_are_drawn():
    rows = [_row(i, {"max_lr": 0.001 * (i + 1)}, i / 1000) for i in range(1000)]
    figure = parallel_figure(rows, ["max_lr"], "accuracy", "maximize")
    assert len(figure.data) == 200
    assert figure.data[-1].hovertemplate.startswith("trial 999:")


def test_a_slice_has_each_trial_at_its_value():
    figure = slice_figure(ROWS, ["max_lr", "dropout", "flip", "beta2"], "accuracy", "maximize")
    assert [list(points.x) for points in figure.data] == [
        [0.001, 0.1, 0.01],
        [0.2, 0.4, 0.3],
        ["True", "False", "True"],
        [0.9],
    ]
    assert [list(points.y) for points in figure.data] == [[0.5, 0.9, 0.7]] * 3 + [[0.5]]
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis2.type is None


def test_a_result_has_every_plot(small_study: Study, tmp_path: Any):
    plot = small_study.result.plot
    drawn = {name: getattr(plot, name)() for name in ("history", "parallel", "slice", "range_test", "controls")}
    assert all(len(figure.data) > 0 for figure in drawn.values())
    scores = small_study.result.trials.query("stage == 'explore' and score == score")["score"]
    assert len(drawn["parallel"].data) == len(scores)
    assert all(0 <= height <= 1 for line in drawn["parallel"].data for height in line.y)
    with pytest.raises(RecordError, match="explore"):
        Study.from_spec(small_spec(), tmp_path / "none").result.plot.history()
