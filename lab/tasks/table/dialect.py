"""How a table's text files are written: their separator, decimal mark, encoding, and words for no value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

MISSING = ("?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A")
"""What stands for no value in a CSV, unless its user says otherwise; an empty cell always does."""

_COMMA = r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?"
_GROUPS = r"[-+]?\d{1,3}(?:\.\d{3})+"
"""Thousands by points, as they are written where the decimal mark is a comma."""


@dataclass(frozen=True)
class Dialect:
    """What a spec says of a table's text files; a parquet needs none of it but numbers that stand for no value."""

    missing: Sequence[str] = MISSING
    separator: str | None = None
    """None: what the suffix says, a comma or a tab."""
    decimal: str | None = None
    """`.` or `,`; None: a comma where the separator is a semicolon."""
    encoding: str = "utf-8"

    def separator_of(self, path: Path) -> str:
        return self.separator or ("\t" if path.suffix.lower() == ".tsv" else ",")

    def plain(self, values: pd.Series[str]) -> pd.Series[str]:
        """Cells whose numbers have a decimal point and no groups of thousands.

        Groups alone, as in 1.234, are a fraction unless a decimal comma is asked for.
        """
        if self.decimal == "." or (self.decimal is None and self.separator != ";"):
            return values
        grouped = values.str.fullmatch(rf"{_GROUPS}(?:,\d+)?" if self.decimal else rf"{_GROUPS},\d+")
        values = values.mask(grouped, values.str.replace(".", "", regex=False))
        return values.mask(values.str.fullmatch(_COMMA), values.str.replace(",", ".", regex=False))
