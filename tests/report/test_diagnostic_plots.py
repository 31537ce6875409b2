"""Plots of test rows: what is drawn is what was counted, in plotly and in the still picture."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import pytest

from lab.errors import RecordError, StudyError
from lab.record.folder import Record
from lab.report import diagnostic_plots
from lab.report.diagnostic_plots import (
    SHARES,
    class_name,
    confusion_figure,
    plot_id,
    reliability_figure,
    residuals_figure,
    says_of_confusion,
    says_of_reliability,
)
from lab.report.page import render
from lab.report.plots import INK
from lab.report.still import still
from lab.stages import ensemble, refit
from lab.stages.diagnostics import (
    Bin,
    ConfusedPair,
    Confusion,
    Diagnostics,
    Example,
    LabelCounts,
    Reliability,
    Residuals,
)
from lab.study.study import Study
from tests.report.test_accessible import TEXT, contrast

NAMES = ("cat", "<b>dog</b> & \N{LATIN SMALL LETTER E WITH ACUTE}", "a name of more than twenty letters")
CONFUSION = Confusion(16, 3, 4, (ConfusedPair("cat", NAMES[1], 3, 8),), NAMES, ((5, 3, 0), (0, 7, 1), (0, 0, 0)))
RELIABILITY = Reliability((Bin(0.4, 0.5, 4, 0.45, 1), Bin(0.9, 1.0, 16, 0.95, 16)))
RESIDUALS = Residuals(3, (1.0, 2.0, 4.0), (1.5, 2.0, 3.0), -0.1, 0.6, -0.9, 0.4)


def test_a_cell_has_its_count_and_the_colour_of_its_share_of_the_row() -> None:
    heat, counts = confusion_figure(CONFUSION).data
    assert [list(row) for row in heat.z] == [[5 / 8, 3 / 8, 0], [0, 7 / 8, 1 / 8], [0, 0, 0]]
    assert list(zip(counts.x, counts.y, counts.text, strict=True)) == [
        (0, 0, "5"),
        (1, 0, "3"),
        (1, 1, "7"),
        (2, 1, "1"),
    ]
    assert heat.customdata[1][2][0] == 1
    assert diagnostic_plots._short(12_345) == "12k"
    assert "4 of 16 lie off the diagonal" in says_of_confusion(CONFUSION)
    with pytest.raises(ValueError, match="40 classes"):
        confusion_figure(Confusion(5, 40, 0, ()))


def test_names_are_short_and_no_markup_and_the_picture_has_them_as_they_are() -> None:
    figure = confusion_figure(CONFUSION)
    assert list(figure.layout.xaxis.ticktext) == ["cat", "&lt;b&gt;dog&lt;/b&gt; &amp; é", "a name of more than…"]
    assert class_name("a" * 20) == "a" * 20
    picture = still(figure).decode()
    assert "&lt;b&gt;dog&lt;/b&gt; &amp; é" in picture
    assert "&amp;lt;" not in picture


def test_the_pages_ink_can_be_read_on_every_cell_on_light_and_on_dark() -> None:
    for paper, ink in (("#ffffff", INK), ("#0f172a", "#e2e8f0")):
        for _, color in SHARES:
            *parts, alpha = (float(part) for part in re.findall(r"[\d.]+", color))
            under = [int(paper[i : i + 2], 16) for i in (1, 3, 5)]
            mixed = "#" + "".join(
                f"{round(alpha * c + (1 - alpha) * u):02x}" for c, u in zip(parts, under, strict=True)
            )
            assert contrast(ink, mixed) >= TEXT, (paper, color)


def test_a_bin_stands_at_its_confidence_with_wilsons_interval() -> None:
    diagonal, bins = reliability_figure(RELIABILITY).data
    assert (list(diagonal.x), list(diagonal.y)) == ([0, 1], [0, 1])
    assert (list(bins.x), list(bins.y)) == ([0.45, 0.95], [0.25, 1.0])
    assert bins.error_y.array[1] == 0
    assert bins.y[0] - bins.error_y.arrayminus[0] == pytest.approx(0.0456, abs=1e-4)
    assert bins.marker.size[0] < bins.marker.size[1]
    assert "of 4 predictions with 45% 25% are right" in says_of_reliability(RELIABILITY)
    assert b"confidence" in still(reliability_figure(RELIABILITY))


def test_predicted_stand_over_actual_values_on_axes_of_one_range() -> None:
    figure = residuals_figure(RESIDUALS, "price")
    diagonal, points = figure.data
    assert (list(points.x), list(points.y)) == ([1, 2, 4], [1.5, 2, 3])
    assert figure.layout.xaxis.range == figure.layout.yaxis.range
    assert list(diagonal.x) == list(diagonal.y) == list(figure.layout.xaxis.range)
    assert figure.layout.xaxis.title.text == "actual price"
    assert b"actual price" in still(figure)
    same = residuals_figure(Residuals(1, (7.0,), (7.0,), 0.0, 0.0, 0.0, 0.0)).layout.xaxis.range
    assert same[0] < 7 < same[1]


def _with(study: Study, tmp_path: Any, *diagnostics: Diagnostics) -> Record:
    """The study's folder with other counts."""
    import shutil

    shutil.copytree(study.record.folder, tmp_path / "run")
    record = Record(tmp_path / "run")
    refit.STAGE.write(record, replace(refit.STAGE.need(record), diagnostics=diagnostics))
    return record


def test_the_page_and_the_result_have_them(small_study: Study) -> None:
    html = render(small_study.spec, small_study.record)
    for name in ("confusion", "reliability", "final-curves", "cost"):
        assert f'class="plot" id="{name}"' in html
    assert 'href="#what-it-gets-wrong"' in html
    assert 'href="#what-it-cost"' in html
    plot = small_study.result.plot
    assert all(getattr(plot, name)().data for name in ("confusion", "reliability", "final_curves", "cost"))
    with pytest.raises(StudyError, match="the target has no numbers"):
        plot.predicted()
    with pytest.raises(StudyError, match="no target 'price'"):
        plot.confusion("price")
    pictures = re.findall(r'<figure><img src="data:image/png;base64,([^"]+)" alt="test example \d+"', html)
    shown = refit.STAGE.need(small_study.record).examples.values()
    assert len(pictures) == sum(map(len, shown)) > 12, "digits show what they are"
    assert base64.b64decode(pictures[0]).startswith(b"\x89PNG")


def test_several_targets_stand_below_each_other(small_study: Study, tmp_path: Any) -> None:
    every = (
        Diagnostics("<i>age</i>", residuals=RESIDUALS),
        Diagnostics("animal", CONFUSION, RELIABILITY),
        Diagnostics("tags", labels=(LabelCounts("red", 4, 2, 1), LabelCounts("<u>", 0, 0, 0)), labels_left_out=7),
        Diagnostics("very many", Confusion(9, 40, 2, (ConfusedPair("1", "2", 2, 4),)), RELIABILITY),
    )
    record = _with(small_study, tmp_path, *every)
    html = render(small_study.spec, record)
    for at in ("predicted-1", "confusion-2", "reliability-2", "reliability-4"):
        assert f'class="plot" id="{at}"' in html
    assert "<i>age</i>" not in html.replace("&lt;i&gt;age", "")
    assert "A matrix of 40 classes would not be read" in html
    assert "7 rarer labels are not shown" in html
    assert "<td>4</td><td>2</td><td>50.0 %</td><td>25.0 %</td>" in html
    assert [plot_id("confusion", i, every[:n]) for i, n in ((0, 1), (1, 2))] == ["confusion", "confusion-2"]
    plot = Study.open(record.folder).result.plot
    assert plot.predicted().layout.xaxis.title.text == "actual &lt;i&gt;age&lt;/i&gt;"
    assert plot.confusion("animal").data
    with pytest.raises(StudyError, match="40 classes are too many"):
        plot.confusion("very many")
    with pytest.raises(StudyError, match="'tags' has no classes"):
        plot.reliability("tags")
    with pytest.raises(StudyError, match=r"no target 'animals' \(did you mean"):
        plot.reliability("animals")


def test_a_folder_of_an_earlier_version_has_its_page_without_them(small_study: Study, tmp_path: Any) -> None:
    record = _with(small_study, tmp_path)
    ensemble.STAGE.write(record, replace(ensemble.STAGE.need(record), diagnostics=()))
    html = render(small_study.spec, record)
    assert 'id="confusion"' not in html
    assert "What it gets wrong" in html, "its examples"
    with pytest.raises(StudyError, match="earlier version"):
        Study.open(record.folder).result.plot.confusion()


def test_a_folder_from_elsewhere_loads_no_picture_and_divides_by_nothing(small_study: Study, tmp_path: Any) -> None:
    example = Example(0, "1", "2", {"image": "https://example.org/seen.png", "name": "x"})
    one = replace(CONFUSION, pairs=(replace(CONFUSION.pairs[0], example=example),))
    record = _with(small_study, tmp_path, Diagnostics("", one, RELIABILITY))
    html = render(small_study.spec, record)
    assert 'src="data:," alt="x"' in html
    assert "example.org" not in html
    empty = Reliability((Bin(0.9, 1.0, 0, 0.95, 0),))
    with pytest.raises(RecordError, match="greater than 0"):
        refit.STAGE.write(record, replace(refit.STAGE.need(record), diagnostics=(Diagnostics("", None, empty),)))
