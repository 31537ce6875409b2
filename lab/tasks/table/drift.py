"""Whether the rows that judge a model are like those that it learns from ("adversarial validation", as the fast.ai
course has it): a forest is asked to tell them apart. n rows of both splits, f columns.

Targets are not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.tasks.table.alike import clusters, named, ranked
from lab.tasks.table.columns import Category, Column, Date
from lab.tasks.table.held import Held
from lab.tasks.table.levels import coded, codes_among, level_of, natural
from lab.tasks.table.table_data import TableData
from lab.tasks.table.values import read_dates, to_numbers

FEWEST = 100
"""Rows of a split, below which an AUC says next to nothing."""
_MOST_ROWS, _MOST_CELLS = 10_000, 2**21
"""Rows of a split that are looked at, and their cells."""
_FOLDS, _TREES, _LEAF, _ROWS_A_TREE = 3, 50, 5, 2_000
_ASKED, _PERMUTED_ROWS = 20, 2_000
"""Columns that are permuted: those that the forests used most; and rows of a fold on which they are."""
_LEAST_LOSS = 0.02
"""What an AUC loses, at least, by a column that tells."""
_NAMED = 3
_APART = 0.6
"""An AUC, from which on the splits are not alike: surely above it, rows have something else in them."""
_Z = 1.96


@dataclass(frozen=True)
class Telling:
    """Columns by which two splits are told apart; several where they say the same, and are permuted together."""

    names: tuple[str, ...]
    auc_lost: float
    """By how much the AUC falls on rows left out when they are permuted."""


@dataclass(frozen=True)
class Drift:
    """How well a forest tells the training rows from those of another split, on rows that it did not learn from."""

    other: str
    """The split."""
    rows: int
    """Rows of both that were looked at."""
    auc: float
    """The mean over folds: 0.5 where nothing tells them apart, 1 where all rows are known."""
    low: float
    high: float
    """95 % interval: by the influence of each row on the AUC (DeLong, DeLong and Clarke-Pearson 1988), with the
    correction for folds of Nadeau and Bengio 2003."""
    columns: tuple[Telling, ...] = ()
    """What tells, most first; none where nothing does."""
    aside: str = ""
    """A column by which the rows were split: of course it tells, and is not looked at."""

    @property
    def differs(self) -> bool:
        """Whether the splits are surely not alike."""
        return self.low > _APART

    @property
    def doubtful(self) -> bool:
        """Whether they are not, and nobody asked for that."""
        return self.differs and not self.aside

    @property
    def line(self) -> str:
        """The same in a sentence."""
        which = f"training and {_CALLED[self.other]} rows"
        beside = f" even without {self.aside!r}, by which they are split," if self.aside else ""
        auc = f"AUC {self.auc:.2f} ({self.low:.2f} to {self.high:.2f})"
        if self.low <= 0.5:
            return f"{which} cannot be told apart by a forest{beside.replace(' even', '').rstrip(',')}: {auc}"
        names = " and ".join(named(telling.names) for telling in self.columns[:_NAMED])
        by = f" by {names}" if names else ""
        if not self.differs:
            return f"{which} can hardly be told apart by a forest{beside.rstrip(',')}: {auc}{',' if by else ''}{by}"
        differ = f"{which} differ{by}: a forest tells them apart{beside} with {auc}"
        return f"{differ}; a model that is good on the ones may be worse on the others"


_CALLED = {"valid": "validation", "test": "test"}


def drifts(data: TableData) -> tuple[Drift, ...]:
    """How validation and test rows differ from the training rows; a split of few rows is left out."""
    drifts = (_drift(data, split) for split in ("valid", "test"))
    return tuple(one for one in drifts if one is not None)


def _drift(data: TableData, other: str) -> Drift | None:
    parts = {split: data.part(split) for split in ("train", other)}
    if min(map(len, parts.values())) < FEWEST:
        return None
    by = data.plan.by if data.plan.kind == "time" and (other != "test" or data.options.test_path is None) else None
    columns = [column for column in data.fitted.columns if column.name != by]
    if not columns:
        return None
    most = max(FEWEST, min(_MOST_ROWS, _MOST_CELLS // len(columns)))
    random = np.random.default_rng(0)
    chosen = {split: np.sort(random.permutation(len(part))[:most]) for split, part in parts.items()}
    sampled = [part.take(chosen[split]) for split, part in parts.items()]
    is_other = np.repeat([0.0, 1.0], [len(part) for part in sampled])
    x = np.stack([_ranks(column, sampled) for column in columns], axis=1).astype(np.float32)
    folds = list(_folds(is_other, _groups(data, chosen)))
    if len(folds) < 2:
        return None
    aside = by if by is not None and any(column.name == by for column in data.fitted.columns) else ""
    return _judged(x, is_other, folds, columns, other, aside or "")


def _ranks(column: Column, parts: list[Held]) -> NDArray[np.float64]:
    """A column's values in both splits, each by its rank among them."""
    if isinstance(column, Category):
        return ranked(_levels(column, parts))
    if isinstance(column, Date):
        dates = [read_dates(part[column.name], column.format) for part in parts]
        values = [np.where(one.isna(), np.nan, one.astype("int64").to_numpy(np.float64)) for one in dates]
    else:
        values = [to_numbers(part.typed(column.name)) for part in parts]
    return ranked(np.concatenate(values))


def _levels(column: Category, parts: list[Held]) -> NDArray[np.float64]:
    """The level of each row by its place in their order [n], NaN where it is missing.

    One that training lacks is a level like others: by the codes that a net gets, all that occurs once would tell which
    rows were learned from."""
    of_parts = [coded(part[column.name]) for part in parts]
    every = sorted({text for _, texts in of_parts for text in texts}, key=natural)
    code_of, _ = codes_among(column.levels, every)
    written = {text: level_of(column.levels[code_of[text] - 1]) if text in code_of else text for text in every}
    rank_of = {level: i for i, level in enumerate(dict.fromkeys(written[text] for text in every))}
    numbers = [np.array([*(rank_of[written[text]] for text in texts), np.nan])[rows] for rows, texts in of_parts]
    return np.concatenate(numbers)


def _groups(data: TableData, chosen: dict[str, NDArray[np.int64]]) -> NDArray[np.int64] | None:
    """The group of each row, where rows of one are not to be parted: by what it is a group would tell its split."""
    _, other = chosen
    if data.plan.kind != "grouped" or (other == "test" and data.options.test_path is not None):
        return None
    assert data.plan.by is not None  # of a grouped split
    rows = np.concatenate([data.rows[split][positions] for split, positions in chosen.items()])
    groups: NDArray[np.int64] = pd.factorize(data.main[data.plan.by])[0][rows].astype(np.int64)
    return groups


def _folds(
    is_other: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows that a forest learns from and those that judge it, as often as there are folds with rows of both."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is not None and len(np.unique(groups)) < 2 * _FOLDS:
        return
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    for learned, judged in kind(_FOLDS, shuffle=True, random_state=0).split(is_other, is_other, groups):
        if all(0 < is_other[rows].sum() < len(rows) for rows in (learned, judged)):
            yield learned, judged


def _judged(
    x: NDArray[np.float32],
    is_other: NDArray[np.float64],
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    columns: list[Column],
    other: str,
    aside: str,
) -> Drift:
    forests = [_forest(x[learned], is_other[learned]) for learned, _ in folds]
    aucs, variances = zip(
        *(
            auc_of(forest.predict_proba(x[judged])[:, 1], is_other[judged] > 0)
            for forest, (_, judged) in zip(forests, folds, strict=True)
        ),
        strict=True,
    )
    auc = sum(aucs) / len(folds)
    # Forests of different folds learn from rows in common, so that their AUCs are off together.
    error = math.sqrt(sum(variances) / len(folds) * (1 / len(folds) + 1 / (len(folds) - 1)))
    low, high = max(0.0, auc - _Z * error), min(1.0, auc + _Z * error)
    tellings: tuple[Telling, ...] = ()
    if low > 0.5:
        tellings = _telling(x, is_other, [judged for _, judged in folds], forests, [column.name for column in columns])
    return Drift(other, len(x), auc, low, high, tellings, aside)


def _forest(x: NDArray[np.float32], is_other: NDArray[np.float64]) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    share = min(1.0, _ROWS_A_TREE / len(x))
    return RandomForestClassifier(_TREES, min_samples_leaf=_LEAF, max_samples=share, random_state=0).fit(x, is_other)


def auc_of(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """The area under the ROC curve of scores [n], and its variance (DeLong, DeLong and Clarke-Pearson 1988, by ranks:
    Sun and Xu 2014).

    >>> auc_of(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    (0.75, 0.125)
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    above, below = ranks[positive], ranks[~positive]
    of_positive = (above - rankdata(scores[positive])) / len(below)
    of_negative = 1.0 - (below - rankdata(scores[~positive])) / len(above)
    variance = sum(float(part.var(ddof=1)) / len(part) if len(part) > 1 else 0.0 for part in (of_positive, of_negative))
    return float(of_positive.mean()), variance


def _telling(
    x: NDArray[np.float32],
    is_other: NDArray[np.float64],
    judged: list[NDArray[np.int64]],
    forests: list[Any],
    names: list[str],
) -> tuple[Telling, ...]:
    """The columns that the forests cannot do without, those that are alike together."""
    used = np.mean([forest.feature_importances_ for forest in forests], axis=0)
    asked = np.argsort(-used, kind="stable")[:_ASKED]
    random = np.random.default_rng(0)
    alike = [asked[cluster] for cluster in clusters(x[:, asked].astype(np.float64))]
    lost = np.zeros(len(alike))
    for forest, fold in zip(forests, judged, strict=True):
        rows = random.permutation(fold)[:_PERMUTED_ROWS]
        if not 0 < is_other[rows].sum() < len(rows):
            continue
        part, positive = x[rows], is_other[rows] > 0
        whole, _ = auc_of(forest.predict_proba(part)[:, 1], positive)
        order = random.permutation(len(rows))
        for i, cluster in enumerate(alike):
            permuted = part.copy()
            permuted[:, cluster] = part[order][:, cluster]
            lost[i] += (whole - auc_of(forest.predict_proba(permuted)[:, 1], positive)[0]) / len(forests)
    ordered = np.argsort(-lost, kind="stable")
    tellings = [Telling(tuple(names[j] for j in alike[i]), float(lost[i])) for i in ordered if lost[i] >= _LEAST_LOSS]
    return tuple(tellings)
