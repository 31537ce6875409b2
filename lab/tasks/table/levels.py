"""The levels of a category: what they are, however a file writes them. n rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.tasks.table.values import PADDED, TRUTH, typed

_WHOLE = re.compile(r"[-+]?\d+(?:\.0*)?")


def as_text(values: pd.Series[Any]) -> list[str]:
    """The texts by which values are levels, each by what it is and not by what stands beside it: 3, 3.0 and the text
    3.0 are one level, and so are True and the texts True, TRUE and true."""
    text_of, texts = coded(values)
    of_rows: list[str] = np.array([*texts, ""], dtype=object)[text_of].tolist()
    return of_rows


def coded(values: pd.Series[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """As `as_text`, each text but once: where each row's stands among those that occur, [n], -1 where it is missing.

    A text may occur several times, of values that are one level.
    """
    if values.dtype != object:
        text_of, different = pd.factorize(values)
        return text_of.astype(np.int64), [*map(level_of, different)]
    # Values of several types may be equal, as 1 and True are.
    there = values.notna().to_numpy()
    text_of = np.full(len(values), -1, dtype=np.int64)
    texts: dict[str, int] = {}
    text_of[there] = [texts.setdefault(level_of(value), len(texts)) for value in values[there]]
    return text_of, [*texts]


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
    return tuple(written for written, _ in _counted(values))


def frequent_levels(values: pd.Series[Any], most: int) -> tuple[tuple[str, ...], int]:
    """The levels that occur more than once, the most frequent ones where these are too many, in their order; and how
    many others there are."""
    counted = _counted(values)
    often = sorted((-count, i) for i, (_, count) in enumerate(counted) if count > 1)[:most]
    return tuple(counted[i][0] for i in sorted(i for _, i in often)), len(counted) - len(often)


def _counted(values: pd.Series[Any]) -> list[tuple[str, int]]:
    """The different levels in their order, each as it is written most often, and how often it occurs."""
    present = values.dropna()
    if present.dtype == object:
        value_of: NDArray[Any] = np.arange(len(present))
        first = value_of
    else:  # each value but once: a category has many rows of each
        value_of = pd.factorize(present)[0]
        first = np.unique(value_of, return_index=True)[1]
    keys, numbers = as_text(typed(present).iloc[first]), np.bincount(value_of, minlength=len(first))
    counts = Counter[tuple[str, str]]()
    for value, key, number in zip(present.iloc[first].tolist(), keys, numbers.tolist(), strict=True):
        counts[key, value.strip() if isinstance(value, str) else key] += number
    levels: dict[str, str] = {}
    of_level = Counter[str]()
    for (key, text), count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        levels.setdefault(key, text)
        of_level[key] += count
    return [(levels[key], of_level[key]) for key in sorted(levels, key=natural)]


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
