"""The page for everyone: read by ear, on dark, on paper, without JavaScript, with one trial and with ten thousand."""

from __future__ import annotations

import base64
import itertools
import random
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from lab.record.trials import TrialRow
from lab.report import drawn, page, plots, trial_plots
from lab.report.page import render
from lab.report.summary import summarize
from lab.study.study import Study

TEXT, LINES = 4.5, 3.0
"""Contrasts that WCAG 2.2 asks for (1.4.3 and 1.4.11, level AA)."""


def luminance(color: str) -> float:
    """WCAG 2.2's relative luminance of #rrggbb."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def long(color: str) -> str:
    return color if len(color) == 7 else "#" + "".join(2 * letter for letter in color[1:])


class Elements(HTMLParser):
    """Every element's name and attributes; what stands in `noscript` as well, as for who has no JavaScript."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.all if tag in tags]


@pytest.fixture(scope="module")
def html(small_study: Study) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "can_draw", lambda: True)
        return render(small_study.spec, small_study.record)


@pytest.fixture(scope="module")
def elements(html: str) -> Elements:
    return Elements(re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.DOTALL))


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # the known one that just fails


def test_text_stands_out_from_its_paper_in_light_and_dark(html: str) -> None:
    schemes = [dict(re.findall(r"--(\w+): (#\w+)", rule)) for rule in re.findall(r":root \{(.*?)\}", html)]
    blocks = re.findall(r"pre \{ background: (#\w+)", html)
    assert len(schemes) == len(blocks) == 2
    for colors, block in zip(schemes, blocks, strict=True):
        for name in ("ink", "soft", "accent", "warn"):
            assert contrast(long(colors[name]), long(colors["paper"])) >= TEXT, name
        assert contrast(long(colors["ink"]), block) >= TEXT


def test_whatever_is_drawn_stands_out_in_light_and_dark(html: str) -> None:
    light, dark = (long(color) for color in re.findall(r"--paper: (#\w+)", html))
    assert contrast(plots.INK, light) >= TEXT
    for color in (plots.ACCENT, plots.SOFT, plots.WARN, *plots.PALETTE, *(color for _, color in trial_plots.SCALE)):
        assert min(contrast(color, light), contrast(color, dark)) >= LINES, color
    for _, color in plots.SURFACE:
        assert contrast(plots.ON_SURFACE, color) >= TEXT


def test_it_is_read_by_ear(elements: Elements) -> None:
    assert [attributes["lang"] for attributes in elements.of("html")] == ["en"]
    assert len(elements.of("main")) == len(elements.of("h1")) == 1
    assert all(attributes.get("scope") in ("row", "col") for attributes in elements.of("th"))
    assert len(elements.of("th")) > 20
    assert all(attributes.get("alt") for attributes in elements.of("img"))
    plots_ = [attributes for attributes in elements.of("div") if attributes.get("class") == "plot"]
    assert all(attributes["role"] == "figure" and attributes["aria-label"] for attributes in plots_)
    regions = [attributes for _, attributes in elements.all if attributes.get("role") == "region"]
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in regions)
    scrolling = [a for tag, a in elements.all if tag == "pre" or a.get("class") == "wide"]
    assert all(attributes.get("role") == "region" for attributes in scrolling), "a keyboard scrolls what has its focus"


def test_every_plot_has_a_picture_where_there_is_no_javascript(html: str, elements: Elements) -> None:
    ids = re.findall(r'<div class="plot" id="([^"]+)"', html)
    pictures = [attributes for attributes in elements.of("img") if attributes.get("class") == "still"]
    assert len(pictures) == len(ids) >= 6
    assert len(re.findall(r"<noscript><img", html)) == len(ids)
    for picture in pictures:
        kind, _, content = str(picture["src"]).partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(content)).tag.endswith("svg")
    assert "still of plot" not in html
    assert len(html) < 2e6


def test_without_matplotlib_the_page_says_in_words_what_each_plot_shows(small_study: Study) -> None:
    said = render(small_study.spec, small_study.record)
    ids = re.findall(r'<div class="plot" id="([^"]+)"', said)
    assert said.count("pip install 'onecycle-lab[pictures]'".replace("'", "&#39;")) == len(ids)
    assert "Training loss over the learning rate" in said


def test_it_is_dated(small_study: Study, html: str) -> None:
    date = summarize(small_study.spec, small_study.record).date
    assert date is not None
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", date)
    assert f'<time datetime="{date}">' in html[: html.index("<h2")]


@pytest.mark.parametrize("count", [1, 10_000])
def test_one_trial_and_ten_thousand_fit_on_a_page(
    small_study: Study, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    read, draw = page.read_stages, random.Random(0)

    def many(*arguments: Any) -> dict[str, list[TrialRow]]:
        stages = read(*arguments)
        one = next(row for row in stages["explore"] if row.score is not None)
        assert one.score is not None
        stages["explore"] = []
        for number in range(count):
            params = one.params | {"dropout": draw.random(), "weight_decay": draw.random()}
            score = one.score * draw.random()
            curve = {epoch: score * draw.random() for epoch in range(1, 28)}
            trial = replace(one.trial, params=params)
            scored = score if number % 7 == 0 else None
            stages["explore"].append(replace(one, number=number, trial=trial, score=scored, curve=curve))
        return stages

    monkeypatch.setattr(page, "read_stages", many)
    monkeypatch.setattr(drawn, "can_draw", lambda: count == 1)
    html = render(small_study.spec, small_study.record)
    assert "left out" not in html
    assert len(html) < 2e6
    assert 'id="history"' in html


def test_of_many_trials_the_best_and_an_even_sample_are_drawn(small_study: Study) -> None:
    one = page.read_stages(small_study.record, ("explore",))["explore"][0]
    rows = [replace(one, number=number, score=-abs(number - 3123.0)) for number in range(5000)]
    some = plots.sampled(rows, "maximize", 100)
    numbers = [row.number for row in some]
    assert len(numbers) == 100
    assert numbers == sorted(numbers)
    assert set(range(3119, 3128)) <= set(numbers)
    assert max(b - a for a, b in itertools.pairwise(numbers)) < 100
    assert plots.sampled(rows[:100], "maximize", 100) == rows[:100]
