"""A picture that cannot be drawn is one line, and nobody waits for a browser that does not answer."""

from __future__ import annotations

import time
from pathlib import Path

import plotly.graph_objects as go
import pytest

from lab.errors import SpecError
from lab.report import figure_file
from lab.report.figure_file import check_ending, png_of, write_figure


def test_a_browser_that_does_not_answer_is_given_up_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beside = tmp_path / "beside"
    code = f"import subprocess; subprocess.run(['sh', '-c', 'sleep 1.5; touch {beside}'])"
    monkeypatch.setattr(figure_file, "_DRAW", code)
    with pytest.raises(RuntimeError, match=r"the browser did not answer within 0\.5 s"):
        png_of(go.Figure(), limit_s=0.5)
    time.sleep(1.5)
    assert not beside.exists()


def test_what_kaleido_says_is_one_line_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(figure_file, "_DRAW", "raise ValueError('no browser here')")
    with pytest.raises(SpecError, match=r"PNG needs kaleido and Chromium .*: ValueError: no browser here") as error:
        write_figure(go.Figure(), tmp_path / "x.png")
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "d.png").mkdir()
    with pytest.raises(SpecError, match=r"d\.png: is a folder$"):
        check_ending(tmp_path / "d.png")


def test_numbers_that_are_none_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("kaleido")
    figure = go.Figure(go.Scatter(x=[1, 2, 3], y=[1.0, float("nan"), None]))
    try:
        assert png_of(figure, width=300, height=200).startswith(b"\x89PNG")
    except RuntimeError as error:
        if "chrom" not in str(error).lower():
            raise
        pytest.skip("needs Debian's chromium")
