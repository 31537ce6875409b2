"""How a table's text files are written: their separator, decimal mark, encoding, and words for no value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab.tasks.options import Allowed, Options, option

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A")
"""What stands for no value in a CSV, unless its user says otherwise; an empty cell always does."""

_TABS = {"tab": "\t", "\\t": "\t"}
_COMMA = r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?"
_GROUPS = r"[-+]?\d{1,3}(?:\.\d{3})+"
"""Thousands by points, as they are written where the decimal mark is a comma."""


def _is_encoding(name: object) -> bool:
    try:
        return isinstance(name, str) and bool("a".encode(name))
    except LookupError:  # also of codecs that are none of text
        return False


_WORDS = Allowed(
    "is not a list of words; quote those that YAML reads otherwise",
    lambda value: isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value),
)
_MARK = Allowed(
    "is not one character, such as ',', ';', '|' or tab",
    lambda value: isinstance(value, str) and (value in _TABS or (len(value) == 1 and value not in '."\n')),
)
_DECIMAL = Allowed("is unknown; choices: '.', ','", lambda value: value in (".", ","))
_ENCODING = Allowed("is unknown; such as utf-8, cp1252, latin-1, utf-16", _is_encoding)


class Dialect(Options, kw_only=True):
    """What a spec says of a table's text files; a parquet needs none of it but numbers that stand for no value."""

    missing: Sequence[str] = option(
        f"words of a .csv that stand for no value, beside the empty cell, instead of {' '.join(MISSING)}; numbers such "
        "as '-999' do so in a .parquet too",
        _WORDS,
        default=MISSING,
    )
    separator: str | None = option(
        "of a .csv's columns, where it is not what the suffix says: one character, or tab", _MARK, default=None
    )
    decimal: str | None = option("'.' or ','; without it a comma where the separator is ';'", _DECIMAL, default=None)
    encoding: str = option("of a .csv, such as cp1252", _ENCODING, default="utf-8")

    def check(self) -> None:
        super().check()
        object.__setattr__(self, "separator", _TABS.get(self.separator or "", self.separator))

    def separator_of(self, path: Path) -> str:
        return self.separator or ("\t" if path.suffix.lower() == ".tsv" else ",")

    def plain_numbers(self, values: pd.Series[str]) -> pd.Series[str]:
        """Cells whose numbers have a decimal point and no groups of thousands.

        Groups alone, as in 1.234, are a fraction unless a decimal comma is asked for.
        """
        if self.decimal == "." or (self.decimal is None and self.separator != ";"):
            return values
        grouped = values.str.fullmatch(rf"{_GROUPS}(?:,\d+)?" if self.decimal else rf"{_GROUPS},\d+")
        values = values.mask(grouped, values.str.replace(".", "", regex=False))
        return values.mask(values.str.fullmatch(_COMMA), values.str.replace(",", ".", regex=False))
