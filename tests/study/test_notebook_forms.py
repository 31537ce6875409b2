"""What a notebook shows of each object: a small table, with what a user wrote escaped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from torch import nn

import lab
from lab.schedules import Join, OneCycle
from lab.study import results
from lab.study.range_test import RangeTest
from lab.study.study import Study
from tests.small import small_spec


class Signs(lab.Task):
    class_names = ("<a>", "b")

    def model(self, params: Any) -> nn.Module:
        return nn.Linear(2, 2)

    def data(self, split: str) -> Any:
        raise AssertionError("nothing is read to be shown")


def text_of(shown: Any) -> str:
    """What a reader reads of it."""
    html = shown._repr_html_()
    return " ".join("".join(ElementTree.fromstring(f"<div>{html.replace('<br>', '<br/>')}</div>").itertext()).split())


def test_a_study_says_what_it_searches_and_what_is_complete(small_study: Study, tmp_path: Path) -> None:
    assert "refit" in text_of(small_study)
    fresh = text_of(Study.from_spec(small_spec(), tmp_path / "<run>"))
    assert "nothing yet" in fresh
    assert "<run>" in fresh
    assert all(name in fresh for name in small_spec().space)


def test_what_a_study_hands_out_names_its_members(small_study: Study) -> None:
    ensemble = small_study.result.ensemble
    shown = text_of(ensemble)
    assert "classification" in shown
    assert all(member.name in shown for member in ensemble.members)


def test_a_response_is_said_in_words(small_study: Study) -> None:
    said = small_study.result.summary.verdict
    assert said is not None
    assert " ".join(said.matters.split()) in text_of(small_study.result.response)


def test_a_range_test_shows_its_suggestion_and_its_trials(small_study: Study) -> None:
    from lab.stages import bounds

    tested = RangeTest(bounds.STAGE.need(small_study.record))
    shown = text_of(tested)
    assert f"{tested.suggestion:.3g}" in shown
    assert tested.read.verdict in shown


@pytest.mark.parametrize(
    "schedule", [OneCycle(max_lr=0.01), Join(parts=(OneCycle(max_lr=0.1), OneCycle(max_lr=0.2)), shares=(0.5, 0.5))]
)
def test_a_schedule_is_drawn(schedule: Any) -> None:
    shown = text_of(schedule)
    assert "█" in shown
    assert schedule.kind in shown
    assert "0.1" in shown or "0.01" in shown


def test_a_task_is_shown_without_its_data() -> None:
    assert "Signs" in text_of(Signs())
    assert "accuracy" in text_of(Signs())
    table = lab.Table(path="nowhere.csv", target="<y>")
    assert "nowhere.csv" in text_of(table)
    assert "<y>" in text_of(table)


def test_the_response_says_what_the_page_says(small_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is outside of the good region depends on the confirmed setup, which the response alone does not hold."""
    result = small_study.result
    said = result.summary.verdict
    assert said is not None
    lies_outside = replace(result.summary, verdict=replace(said, good="max_lr below 1. The best setup lies outside."))
    monkeypatch.setattr(results, "summarize", lambda spec, record: lies_outside)
    shown = text_of(result.response)
    assert said.matters in shown
    assert "The best setup lies outside." in shown
