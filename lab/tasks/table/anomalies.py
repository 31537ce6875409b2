"""What is doubtful about a table: targets hidden among the features, rows in two splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.tasks.table.held import Table, typed_column
from lab.tasks.table.levels import coded
from lab.tasks.table.values import codes

_EXACT = 1 - 1e-9
_SAMPLE = 20_000
_SAMPLED_CELLS = 2**22
_ROWS_A_COLUMN, _MORE_ROWS = 2, 10
"""Rows that leave no doubt of what several columns add up to."""
MOST_TOGETHER = 2_000
"""Columns of numbers, above which nobody looks for several that add up to a target: it takes their number cubed."""
_REFINED = 3
_FEW_WEIGHTS = 8
"""A linear combination of at most as many columns that gives the target exactly is a leak, not a discovery."""

FAR = 1_000
"""Times the usual distance from the median; long tails of prices and incomes stay below."""
_OFTEN, _DIFFERENT, _MOST_SENTINELS = 3, 8, 3
"""How often a sentinel stands in a column, how many other values there are, and how many sentinels at each end."""
_GAP, _GAP_OF_USUAL = 1.2, 0.1
_USUAL = r"-200|-?(?:77+|88+|99+)|-?32768|32767|65535|-?2147483648|2147483647"

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that no bit of a hash is lost."""

_MOSTLY = 0.9
_DRESSED = r"\s*[-+]?[$€£]?\s*\d{1,3}(?:[,.' ]?\d{3})*(?:[.,]\d+)?\s*[%$€£]?\s*"
"""Numbers as people write them: 1,234.5 or 1.234,5 or 12 % or $3."""


def leaks(table: Table, features: Sequence[str], targets: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each target the features that say it under another name: one-to-one with it, or, several together, adding up
    to it. What can be known of the features is found out once for all targets."""
    names = dict.fromkeys([*features, *targets])
    rows = max(min(_SAMPLE, _SAMPLED_CELLS // len(names)), _ROWS_A_COLUMN * len(names) + _MORE_ROWS)
    part = pd.DataFrame({name: typed_column(table, name).head(rows) for name in names}, copy=False)
    learned, several = {name: _Levels.of(part[name]) for name in features}, _Together(part, features)
    leaking: dict[str, tuple[str, ...]] = {}
    for name in targets:
        values, levels = part[name], _Levels.of(part[name])
        leaking[name] = tuple(n for n, of_feature in learned.items() if of_feature.say(levels, part[n], values))
        if not leaking[name] and pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            leaking[name] = several.adding_up(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return leaking


@dataclass(frozen=True)
class _Levels:
    """The different values of a column: their number, and each row's."""

    codes: NDArray[np.int64]
    number: int

    @classmethod
    def of(cls, values: pd.Series[Any]) -> _Levels:
        codes, different = pd.factorize(values)
        return cls(codes.astype(np.int64), len(different))

    def say(self, other: _Levels, feature: pd.Series[Any], target: pd.Series[Any]) -> bool:
        """Whether each of the feature's values goes with one value of the target and back, over repeated values."""
        if self.number != other.number or self.number < 2:
            return False
        if self.number == len(feature):  # all different: the same order, or a straight line, is needed to be sure
            return _is_line(feature, target)
        return len(np.unique(self.codes * (other.number + 1) + other.codes)) == self.number


def _is_line(feature: pd.Series[Any], target: pd.Series[Any]) -> bool:
    if not (pd.api.types.is_numeric_dtype(feature) and pd.api.types.is_numeric_dtype(target)):
        return False
    if not _is_finite(feature):
        return False
    correlation = np.corrcoef(feature.astype(float), target.astype(float))[0, 1]
    return bool(abs(correlation) > _EXACT)


def _is_finite(values: pd.Series[Any]) -> bool:
    return bool(np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan)).all())


class _Together:
    """Linear combinations of a table's columns of numbers: taken apart once, for any number of targets."""

    def __init__(self, frame: pd.DataFrame, features: Sequence[str]) -> None:
        self._frame = frame
        self._features = features

    @cached_property
    def _names(self) -> list[str]:
        """The columns, none where they are too many for the rows."""
        frame = self._frame
        names = [n for n in self._features if pd.api.types.is_numeric_dtype(frame[n]) and _is_finite(frame[n])]
        several = len(frame) > _ROWS_A_COLUMN * len(names) + _MORE_ROWS and len(names) <= MOST_TOGETHER
        return names if several else []

    @cached_property
    def _parts(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The standardised columns [n, f], and the inverse of their products [f, f], without what has no weight."""
        x = self._frame[self._names].to_numpy(dtype=np.float64)
        x = x - x.mean(axis=0)
        x /= np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
        strengths, vectors = np.linalg.eigh(x.T @ x)  # a tenth of the time of taking x itself apart
        strong = strengths > np.finfo(np.float64).eps * max(x.shape) * strengths[-1]
        return x, (vectors[:, strong] / strengths[strong]) @ vectors[:, strong].T

    def adding_up(self, target: NDArray[np.float64]) -> tuple[str, ...]:
        """The few columns that add up to a target [n]; none where they do not, or only many do."""
        if not self._names:
            return ()
        x, inverse = self._parts
        y = (target - target.mean()) / max(float(target.std()), 1e-12)
        weights = np.zeros(x.shape[1])
        for _ in range(_REFINED):  # products of columns lose half of the digits, which their errors give back
            weights += inverse @ (x.T @ (y - x @ weights))
        if 1 - np.mean((y - x @ weights) ** 2) < _EXACT:
            return ()
        parts = [name for name, weight in zip(self._names, weights, strict=True) if abs(weight) > 1e-6]
        return tuple(parts) if len(parts) <= _FEW_WEIGHTS else ()


def far_out(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the numbers that lie out by more than `FAR` times what half of all do, the farthest first."""
    off = np.abs(values - np.median(values))
    if not (off > 0).any():
        return np.zeros(0, dtype=np.int64)
    far = np.flatnonzero(off > FAR * np.median(off[off > 0]))
    return far[np.argsort(-off[far], kind="stable")]


@dataclass(frozen=True)
class Sentinel:
    """A number that may stand for no value, and between what all others lie."""

    value: float
    count: int
    low: float
    high: float


def sentinels(values: NDArray[np.float64]) -> tuple[Sentinel, ...]:
    """Whole numbers that stand several times at an end, far from all others; nearer suffices for those that often stand
    for no value."""
    different, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    chosen: list[int] = []
    for low, high in product(range(_MOST_SENTINELS + 1), repeat=2):
        ends = [*range(low), *range(len(different) - high, len(different))]
        rest = different[low : len(different) - high]
        if len(ends) <= len(chosen) or len(rest) < _DIFFERENT or (counts[ends] < _OFTEN).any():
            continue
        gaps = [rest[0] - different[i] if i < low else different[i] - rest[-1] for i in ends]
        spread = rest[-1] - rest[0]
        if all(gap > _gap(different[i]) * spread for gap, i in zip(gaps, ends, strict=True)):
            chosen, between = ends, (float(rest[0]), float(rest[-1]))
    return tuple(Sentinel(float(different[i]), int(counts[i]), *between) for i in chosen)


def _gap(value: float) -> float:
    """How far from all others a sentinel lies, as a share of their range."""
    if value != np.round(value):
        return np.inf
    return _GAP_OF_USUAL if re.fullmatch(_USUAL, f"{value:.0f}") else _GAP


def mostly_numbers(values: pd.Series[Any], least: float = 0.5) -> tuple[int, int] | None:
    """How many of a text column's values are numbers and how many are not, where most are and none is a code."""
    texts = _texts(values)
    plain = _is_plain(texts)
    if len(texts) and codes(texts).any():
        return None
    numbers = int(plain.sum())
    return (numbers, len(plain) - numbers) if least * len(plain) <= numbers < len(plain) else None


def dressed_number(values: pd.Series[Any]) -> str | None:
    """An example of a text column whose values are numbers but for separators, per cent signs and currencies."""
    texts = _texts(values)
    plain = _is_plain(texts)
    if plain.all() or texts.str.fullmatch(_DRESSED).mean() < _MOSTLY:
        return None
    return str(texts[~plain].iloc[0])


def _texts(values: pd.Series[Any]) -> pd.Series[str]:
    """The values of a column of text that are there; none of a column of another type."""
    present = values.dropna()
    if pd.api.types.is_numeric_dtype(present) or pd.api.types.is_bool_dtype(present):
        present = present.head(0)
    return present.astype(str)


def _is_plain(texts: pd.Series[str]) -> pd.Series[bool]:
    return pd.to_numeric(texts, errors="coerce").notna()


def duplicates(train: Table, others: Mapping[str, Table], features: list[str]) -> dict[str, int]:
    """Rows of each other split whose features all stand in a training row too."""
    parts = [train, *others.values()]
    hashed = [np.zeros(len(part), dtype=np.uint64) for part in parts]
    for name in features:
        columns = [typed_column(part, name) for part in parts]
        numbers = all(pd.api.types.is_numeric_dtype(values) for values in columns)
        for of_rows, values in zip(hashed, columns, strict=True):
            of_rows *= _FACTOR  # what overflows is left out, as hashes have it
            of_rows ^= _hashed(values, numbers)
    return {split: int(np.isin(of_split, hashed[0]).sum()) for split, of_split in zip(others, hashed[1:], strict=True)}


def _hashed(values: pd.Series[Any], numbers: bool) -> NDArray[np.uint64]:
    """Each cell by what it is, also where splits are of files of different forms."""
    if numbers:
        of_numbers: NDArray[np.uint64] = pd.util.hash_array(values.to_numpy(dtype=np.float64, na_value=np.nan))
        return of_numbers
    hashed = np.empty(len(values), dtype=np.uint64)
    for start in range(0, len(values), _SAMPLE):  # a text takes several times its bytes while it is hashed
        part = slice(start, start + _SAMPLE)
        text_of, texts = coded(values.iloc[part])
        hashed[part] = pd.util.hash_array(np.array([*texts, ""], dtype=object))[text_of]
    return hashed
