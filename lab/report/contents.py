"""A page's list of contents: each section has an anchor, and a line of links leads there."""

from __future__ import annotations

import re

_MARK = "<!-- contents -->"
_SECTION = re.compile(r"<h2>(.*?)</h2>")


def with_contents(html: str) -> str:
    """A page whose sections can be linked to, with the links where it asks for them.

    >>> with_contents("<h2>Final models</h2>")
    '<h2 id="final-models">Final models</h2>'
    """
    titles = _SECTION.findall(html)
    links = "".join(f'<a href="#{anchor(title)}">{title}</a>' for title in dict.fromkeys(titles))
    anchored = _SECTION.sub(lambda match: f'<h2 id="{anchor(match[1])}">{match[1]}</h2>', html)
    return anchored.replace(_MARK, f'<nav class="contents" aria-label="Contents">{links}</nav>')


def anchor(title: str) -> str:
    """The name by which a section is linked to."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
