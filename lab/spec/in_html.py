"""A few named values as a notebook shows them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


def rows_html(rows: Mapping[str, str]) -> str:
    """A table of two columns, with whatever stands in it escaped.

    >>> "<td style=\"text-align:left\">1 &lt; 2</td>" in rows_html({"metric": "1 < 2"})
    True
    """
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{cells}</table>"
