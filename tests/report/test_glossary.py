"""The page's words: marked where a section uses them first, and nowhere where they are not its own."""

from __future__ import annotations

import re

import pytest

from lab.report.glossary import TERMS, with_glossary
from lab.report.page import render
from lab.study.study import Study


def _marked(html: str) -> list[str]:
    return re.findall(r'<a class="term"[^>]*>([^<]*)</a>', with_glossary(html + "<!-- glossary -->"))


def test_the_first_use_in_each_section_is_marked() -> None:
    html = "<p>A lane, two lanes.</p><h2>One</h2><p>A slot in a Lane; a lane</p><h2>Two</h2><li>lanes</li>"
    assert _marked(html) == ["lane", "slot", "Lane", "lanes"]


@pytest.mark.parametrize(
    "html",
    [
        "<h2>The lane</h2>",
        "<pre>lane</pre>",
        "<script>lane</script>",
        "<code>lane</code>",
        '<a href="#x">lane</a>',
        "<td>lane</td>",
        '<p title="lane">text</p>',
        "<ul data-plain><li><ul></ul></li><li>lane</li></ul>",
        "<noscript><p>lane</p></noscript>",
        "<p>planes, lane_1 and no-lane-at-all, a.lane</p>",
    ],
)
def test_what_is_not_the_pages_own_text_is_left_alone(html: str) -> None:
    page = f"{html}<!-- glossary -->"
    assert with_glossary(page) == html


def test_the_longest_form_counts_across_lines_and_marks_end_where_an_element_does() -> None:
    html = "<p>an expected\n  calibration error of .1; out-of-bag R²</p><ul data-plain>slot</ul><p>slot</p>"
    assert _marked(html) == ["expected\n  calibration error", "out-of-bag R²", "slot"]


def test_every_mark_leads_to_its_explanation_and_no_other_stands_there(small_study: Study) -> None:
    html = render(small_study.spec, small_study.record)
    marks = re.findall(r'<a class="term" href="#([^"]+)" aria-describedby="([^"]+)">', html)
    heads = re.findall(r'<dt id="([^"]+)"><dfn>', html)
    says = re.findall(r'<dd id="([^"]+)">', html)
    assert {mark for mark, _ in marks} == set(heads)
    assert {described for _, described in marks} == set(says)
    assert len(heads) == len(set(heads)) >= 15
    assert 'href="#glossary"' in html
    for word in ("1cycle", "lane", "snapshot", "baseline", "expected calibration error", "confusion matrix"):
        assert f"<dfn>{word}</dfn>" in html
    assert set(re.findall(r"<dfn>(.*?)</dfn>", html)) <= set(TERMS)
    assert with_glossary(html) == html, "a page is marked once"
