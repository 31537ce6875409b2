"""Epochs as they end: lines on a terminal, one table in a notebook, nothing where nothing is asked for."""

from __future__ import annotations

import html.parser
from typing import Any

import pytest

from lab.study.epochs_shown import EpochsShown, epochs_html

ROW = {"epoch": 1, "train_loss": 0.123456, "accuracy": None, "seconds": 1.26}


def test_a_terminal_gets_a_heading_and_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    shown = EpochsShown(2, quiet=False)
    shown.add(ROW)
    shown.add({**ROW, "epoch": 2})
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()] == [
        ["epoch", "train_loss", "accuracy", "seconds"],
        ["1", "0.1235", "-", "1.3"],
        ["2", "0.1235", "-", "1.3"],
    ]


def test_quiet_keeps_them_and_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = EpochsShown(1, quiet=True)
    shown.add(ROW)
    shown.say("a line")
    assert shown.rows == [ROW]
    assert capsys.readouterr() == ("", "")


def test_a_notebook_gets_one_table_that_grows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Handle:
        shown: list[str] = []  # noqa: RUF012 - of this test alone

        def update(self, what: Any) -> None:
            self.shown.append(what._repr_html_())

    monkeypatch.setattr("lab.study.epochs_shown._notebook", Handle)
    shown = EpochsShown(2, quiet=False)
    shown.add(ROW)
    shown.add({**ROW, "epoch": 2})
    assert "1 of 2 epochs" in Handle.shown[0]
    assert "of 2 epochs" not in Handle.shown[1]
    assert Handle.shown[1].count("<tr>") == 3
    assert capsys.readouterr().err == ""


def test_names_are_shown_as_text() -> None:
    said = epochs_html([{"<b>": "<i>"}])
    assert "&lt;b&gt;" in said
    assert "<i>" not in said
    html.parser.HTMLParser().feed(said)
