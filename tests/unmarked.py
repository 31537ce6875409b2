"""A page's text as its sentences were written."""

from __future__ import annotations

import re


def unmarked(page: str) -> str:
    """A page without the links to its glossary."""
    return re.sub(r'<a class="term"[^>]*>(.*?)</a>', r"\1", page, flags=re.DOTALL)
