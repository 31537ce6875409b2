"""All trials as a table: what is packed is what the trials are, and a browser sorts it, shows it and saves it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import pytest

from lab.record.trials import TrialRow
from lab.report import trial_table as module
from lab.report.page import render
from lab.report.trial_table import trial_table
from lab.spec.trial import Outcome, Trial
from lab.study.study import Study


def _row(number: int, score: float | None, outcome: Outcome | None = Outcome.COMPLETED, **params: Any) -> TrialRow:
    curve = {} if score is None else {1: 0.1, 3: score}
    metrics = {"valid_loss": None if score is None else 1 - score}
    trial = Trial({"max_lr": 0.1234567890123, **params}, number, 5, "search")
    return TrialRow(number, trial, outcome, score, curve, metrics=metrics, seconds=1.5)


TRIALS = {
    "bounds": [_row(0, None, Outcome.DIVERGED)],
    "explore": [_row(0, None, None), _row(1, 0.5, kind="=cmd"), _row(2, 0.75)],
    "refit": [_row(0, 0.9)],
}


@pytest.mark.parametrize(("direction", "first"), [("maximize", (2, 1)), ("minimize", (1, 2))])
def test_the_searchs_best_stand_first_and_all_other_trials_behind(direction: Any, first: tuple[int, int]) -> None:
    table = trial_table(TRIALS, ["max_lr"], direction)
    assert table.columns[:6] == ("trial", "stage", "role", "state", "max_lr", "kind")
    assert [row[:2] for row in table.rows] == [
        (first[0], "explore"),
        (first[1], "explore"),
        (0, "explore"),
        (0, "bounds"),
        (0, "refit"),
    ]
    by_trial = {row[:2]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    best = by_trial[2, "explore"]
    assert (best["max_lr"], best["score"], best["validation loss"]) == (0.123457, 0.75, 0.25)
    assert (best["epochs"], best["seconds"], best["state"], best["kind"]) == (3, 1.5, "completed", None)
    assert (by_trial[0, "explore"]["state"], by_trial[0, "explore"]["epochs"]) == ("running", None)
    assert by_trial[0, "refit"]["score"] is None, "it is a loss on what was trained on"


def test_what_is_packed_is_the_table() -> None:
    table = trial_table(TRIALS, ["max_lr"], "minimize")
    content = json.loads(gzip.decompress(base64.b64decode(table.packed)))
    assert content["columns"] == list(table.columns)
    assert content["maximize"] is False
    assert [tuple(row) for row in zip(*content["values"], strict=True)] == list(table.rows)
    assert trial_table({}, ["max_lr"], "maximize").packed


def test_of_more_trials_than_a_page_holds_the_best_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    table = trial_table(TRIALS, [], "maximize")
    assert ([row[0] for row in table.rows], table.left_out) == ([2, 1], 3)


def test_numbers_that_json_does_not_have_are_missing() -> None:
    rows = [_row(1, float("inf")), _row(2, float("nan"))]
    table = trial_table({"explore": rows}, [], "maximize")
    assert all(row[table.columns.index("score")] is None for row in table.rows)
    assert table.packed


def test_without_javascript_the_best_stand_there(small_study: Study) -> None:
    html = render(small_study.spec, small_study.record)
    body = re.search(r'<table id="trials">.*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    assert body is not None
    rows = re.findall(r"<tr>(.*?)</tr>", body[1])
    best = small_study.result.best_trial
    assert best is not None
    assert len(rows) == 20
    assert f'<th scope="row">{best.trial}</th><td>explore</td><td>search</td>' in rows[0]
    packed = re.search(r'unpacked\("([^"]+)"\)\.then\(text => trialTable', html)
    assert packed is not None
    values = json.loads(gzip.decompress(base64.b64decode(packed[1])))["values"]
    assert len(values[0]) == len(small_study.result.trials)
