"""Numbers that are names: codes with leading zeros, and what tells rows apart and nothing else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from lab.tasks.table.values import PADDED, is_text, typed

_MANY = 24
"""Rows, above which different whole numbers in all of them are no accident."""
_UNNAMED = r"|unnamed(: ?\d+)?|__index_level_\d+__"
_IDENTIFIER = rf"{_UNNAMED}|(.*[-_. ])?(id|idx|uid|guid)|index|row[-_. ]?(names?|number|num|nr|no)?"


def padded_number(values: pd.Series[Any]) -> tuple[int, str] | None:
    """How many cells of a column of numbers have leading zeros, and one of them; None where none has."""
    texts = values.dropna() if is_text(values) else pd.Series(dtype="str")
    padded = texts[texts.str.match(PADDED)]
    plain = len(padded) and pd.to_numeric(texts, errors="coerce").notna().all()
    return (len(padded), str(padded.iloc[0])) if plain else None


def identifies(values: pd.Series[Any]) -> bool:
    """Whether a column holds another whole number in each of many rows, in any order: rows can be told apart by it, and
    nothing else is sure of it."""
    numbers = typed(values)
    if pd.api.types.is_bool_dtype(numbers) or not pd.api.types.is_numeric_dtype(numbers) or len(numbers) <= _MANY:
        return False
    floats = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return bool((np.floor(floats) == floats).all()) and bool(numbers.is_unique)


def called_identifier(name: str) -> bool:
    """Whether a column has no name, or the name of an identifier."""
    return (
        re.fullmatch(_IDENTIFIER, name.strip(), re.IGNORECASE) is not None
        or re.search(r"[a-z]I[dD]$", name) is not None
    )


def unnamed(name: str) -> bool:
    """Whether a column has no name, as a data frame's index has none that was written along."""
    return re.fullmatch(_UNNAMED, name.strip(), re.IGNORECASE) is not None
