"""The levels of a category: what they are, however a file writes them. n rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lab.tasks.table.values import PADDED, TRUTH, typed

_WHOLE = re.compile(r"[-+]?\d+(?:\.0*)?")


def as_text(values: pd.Series[Any]) -> list[str]:
    """The texts by which values are levels, each by what it is and not by what stands beside it: 3, 3.0 and the text
    3.0 are one level, and so are True and the texts True, TRUE and true."""
    if values.dtype == object:  # values of several types may be equal, as 1 and True are
        return [level_of(value) if there else "" for value, there in zip(values, values.notna(), strict=True)]
    places, different = pd.factorize(values)  # -1, the last, where missing
    texts: list[str] = np.array([*map(level_of, different), ""], dtype=object)[places].tolist()
    return texts


def level_of(value: Any) -> str:
    """The text by which a value is a level; see `as_text`."""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    text = str(value).strip()
    if _WHOLE.fullmatch(text):
        return text.partition(".")[0]
    return str(TRUTH[text]).lower() if text in TRUTH else text


def levels_among(values: pd.Series[Any]) -> tuple[str, ...]:
    """The different levels among values, in their order, each as it is written most often."""
    present = values.dropna()
    keys = as_text(typed(present))
    written = [
        value.strip() if isinstance(value, str) else key for value, key in zip(present.tolist(), keys, strict=True)
    ]
    counts = Counter(zip(keys, written, strict=True))
    levels: dict[str, str] = {}
    for key, text in sorted(counts, key=lambda pair: (-counts[pair], pair)):
        levels.setdefault(key, text)
    return tuple(levels[key] for key in sorted(levels, key=natural))


def codes_among(levels: Sequence[str], texts: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """The codes, from 1, of those texts of `as_text` that are levels; and which texts have other leading zeros than
    their levels."""
    codes = {level_of(level): code for code, level in enumerate(levels, start=1)}
    code_of = {text: codes[text] for text in texts if text in codes}
    padded: dict[str, str] = {}
    same = _by_number(levels)
    for text in texts:
        number = None if text in code_of else as_number(text)
        if number is not None and number in same:
            level = same[number]
            code_of[text] = codes[level_of(level)]
            if re.match(PADDED, text) or re.match(PADDED, level):
                padded[text] = level
    return code_of, padded


def _by_number(levels: Sequence[str]) -> Mapping[float, str]:
    """Levels that alone are some number, for cells that another program has written in another way: 007 as 7, or 0.5 as
    0.50. Where not every level is a number, whole numbers only: 1.10 may be a version then."""
    numbers = [as_number(level) for level in levels]
    if None in numbers:
        numbers = [as_number(level) if _WHOLE.fullmatch(level) else None for level in levels]
    counts = Counter(numbers)
    pairs = zip(numbers, levels, strict=True)
    return {number: level for number, level in pairs if number is not None and counts[number] == 1}


def as_number(text: str) -> float | None:
    """The number that a text is, if it is a finite one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) and "_" not in text else None


def natural(level: str) -> tuple[int, float, str]:
    """Levels that are numbers in their order, then texts."""
    try:
        return (0, float(level), level)
    except ValueError:
        return (1, 0.0, level)
