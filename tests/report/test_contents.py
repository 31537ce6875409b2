"""Every section of a page is linked to, once, and each link leads somewhere."""

from __future__ import annotations

import re

import pytest

from lab.report.contents import anchor, with_contents
from lab.report.page import render
from lab.study.study import Study


def test_every_link_leads_to_a_section_and_every_section_has_one(small_study: Study) -> None:
    html = render(small_study.spec, small_study.record)
    (nav,) = re.findall(r'<nav class="contents".*?</nav>', html)
    links = re.findall(r'href="#([^"]+)"', nav)
    sections = re.findall(r'<h2 id="([^"]+)">', html)
    assert links == sections
    assert len(links) == len(set(links)) > 6
    assert "<h2>" not in html


def test_a_page_without_sections_has_no_links() -> None:
    assert with_contents("<p><!-- contents --></p>") == '<p><nav class="contents" aria-label="Contents"></nav></p>'


@pytest.mark.parametrize(("title", "name"), [("What was asked", "what-was-asked"), ("R² & more", "r-more")])
def test_anchors_are_plain(title: str, name: str) -> None:
    assert anchor(title) == name
