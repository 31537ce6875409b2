"""Ratings made ready: codes of users and items, splits, and what is told of them. Needs no torch.

Shapes: n ratings. A code counts from 1; 0 is whoever or whatever training has not.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError
from lab.tasks.description import Description, some
from lab.tasks.ratings.options import RatingsOptions
from lab.tasks.scored import check_defined, measured
from lab.tasks.splits import Rows, SplitPlan, described, make_folds, make_split
from lab.tasks.table.columns import Category
from lab.tasks.table.encoding import Notes, to_codes
from lab.tasks.table.frame import need_columns, read_frame
from lab.tasks.table.levels import levels_among
from lab.tasks.table.values import row_number

_MOST_KEPT = 5_000_000
"""Training pairs, above which a study does not keep them to leave them out of recommendations."""


@dataclass(frozen=True)
class Fitted:
    """What was learned from the training ratings."""

    users: tuple[str, ...]
    items: tuple[str, ...]
    mean: float
    std: float
    low: float
    """The least and the largest rating."""
    high: float
    rated: str | None
    """The training pairs' codes, packed; None: they are too many."""

    def dump(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Fitted:
        """What `dump` gave.

        Raises:
            TaskError: it is something else.
        """
        try:
            return cls(**{**value, "users": tuple(value["users"]), "items": tuple(value["items"])})
        except (KeyError, TypeError) as error:
            raise TaskError(f"what was fitted to the ratings is damaged ({error})") from error

    def codes(self, users: pd.Series[Any], items: pd.Series[Any]) -> NDArray[np.int64]:
        """Codes of pairs [n, 2]."""
        return np.stack([self.codes_of_users(users), _codes(self.items, items)], axis=1)

    def codes_of_users(self, users: pd.Series[Any]) -> NDArray[np.int64]:
        """Codes of users [n]."""
        return _codes(self.users, users)

    def pairs(self) -> NDArray[np.int64]:
        """The training pairs' codes [n, 2]; none where they are not kept."""
        return np.zeros((0, 2), np.int64) if self.rated is None else _unpacked(self.rated)


class Rated:
    """The table of ratings and its splits; each made when it is first asked for."""

    def __init__(self, options: RatingsOptions) -> None:
        self.options = options
        self._ratings: dict[str, NDArray[np.float32]] = {}
        self.plan = SplitPlan.parse(options.split)
        if self.plan.kind == "stratified":
            raise SpecError("task.split.kind", "'stratified' needs classes; use random, time, grouped or declared")

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All rows of `path`."""
        return self._read(self.options.path)

    @cached_property
    def _test(self) -> pd.DataFrame | None:
        return None if self.options.test_path is None else self._read(self.options.test_path)

    def _read(self, path: str) -> pd.DataFrame:
        frame, options = read_frame(Path(path), self.options), self.options
        for what in ("user", "item", "rating"):
            need_columns(frame, [getattr(options, what)], f"task.{what}")
        for what in ("user", "item"):
            column = getattr(options, what)
            missing = frame[frame[column].isna()]
            if len(missing):
                row = row_number(missing, 0)
                raise TaskError(f"{path}: column {column!r}: row {row} is empty; leave such rows out")
        return frame

    @cached_property
    def rows(self) -> Rows:
        """Row numbers of each split; test rows of a `test_path` count from 0 in it."""
        apart = self._test is not None
        rows_of = make_split(self.plan, len(self.frame), None, self._by, with_test=not apart)
        if self._test is not None:
            rows_of["test"] = np.arange(len(self._test))
        return rows_of

    @cached_property
    def folds(self) -> NDArray[np.int64] | None:
        return make_folds(self.plan, self.rows, None, self._by)

    @cached_property
    def _by(self) -> NDArray[Any] | None:
        """The column by which rows are split, where one is."""
        if self.plan.by is None:
            return None
        need_columns(self.frame, [self.plan.by], "task.split.by")
        return self.frame[self.plan.by].to_numpy()

    def part(self, split: str) -> pd.DataFrame:
        """A split's rows."""
        frame = self._test if split == "test" and self._test is not None else self.frame
        return frame.iloc[self.rows[split]]

    def ratings(self, split: str) -> NDArray[np.float32]:
        """A split's ratings [n, 1]."""
        if split not in self._ratings:  # they are asked for several times, and texts take long to be read
            self._ratings[split] = numbers(self.part(split)[self.options.rating], self.options.path)
        return self._ratings[split]

    @cached_property
    def fitted(self) -> Fitted:
        """What was learned from the training ratings.

        Raises:
            TaskError: from one user or one item, or ratings that are all alike, nothing is learned.
        """
        train, options = self.part("train"), self.options
        levels = {name: levels_among(train[name]) for name in (options.user, options.item)}
        for name, of_column in levels.items():
            if len(of_column) < 2:
                raise TaskError(f"{options.path}: column {name!r} has one value only ({of_column[0]!r}) in training")
        values = self.ratings("train").astype(np.float64)
        if values.min() == values.max():
            raise TaskError(f"{options.path}: column {options.rating!r}: all training ratings are {values.min():g}")
        users, items = levels.values()
        pairs = np.stack([_codes(users, train[options.user]), _codes(items, train[options.item])], axis=1)
        return Fitted(
            users,
            items,
            mean=float(values.mean()),
            std=float(values.std()),
            low=float(values.min()),
            high=float(values.max()),
            rated=_packed(pairs) if len(pairs) <= _MOST_KEPT else None,
        )

    def codes(self, split: str, fitted: Fitted) -> NDArray[np.int64]:
        """A split's pairs [n, 2]."""
        part = self.part(split)
        return fitted.codes(part[self.options.user], part[self.options.item])

    def describe(self) -> Description:
        """What was found and what is doubtful, for people."""
        fitted, options = self.fitted, self.options
        check_defined(options, "regression", {split: self.ratings(split) for split in self.rows})
        counts = np.bincount(self.codes("train", fitted)[:, 0])[1:]
        train = len(self.rows["train"])
        density = train / (len(fitted.users) * len(fitted.items))
        sizes = ", ".join(f"{len(self.rows[split])} {split}" for split in ("train", "valid", "test"))
        facts = (
            f"{len(fitted.users)} users and {len(fitted.items)} items in training, {density:.3g} of their pairs rated",
            f"ratings {sizes} (split: {self.plan.resolved(False)})",
            f"training ratings from {fitted.low:g} to {fitted.high:g}, mean {fitted.mean:.4g}, standard deviation "
            f"{fitted.std:.4g}; a user has {np.median(counts):g} (median), at least {counts.min()}",
            *(() if self.folds is None else (described(self.folds),)),
        )
        folds = None if self.folds is None else int(self.folds.max()) + 1
        return Description(facts, tuple(self._doubts()), train, "regression", measured(options, "regression"), folds)

    def _doubts(self) -> Iterator[str]:
        options, fitted = self.options, self.fitted
        pairs = [options.user, options.item]
        twice = self.frame[self.frame.duplicated(pairs, keep=False)]
        if len(twice):
            different = twice.groupby(pairs, observed=True)[options.rating].nunique()
            yield (
                f"{len(different)} pairs are rated several times, {int((different > 1).sum())} of them with different "
                "values; each row counts, and some may lie in several splits"
            )
        for split in ("valid", "test"):
            codes = self.codes(split, fitted)
            for column, what in enumerate(("users", "items")):
                new = int((codes[:, column] == 0).sum())
                if new:
                    yield (
                        f"{new} of {len(codes)} {split} ratings are of {what} that training has not; these are taken "
                        "for the mean of all"
                    )


def numbers(values: pd.Series[Any], path: str | Path) -> NDArray[np.float32]:
    """Ratings [n, 1].

    Raises:
        TaskError: one that is no number; with its row.
    """
    as_numbers = pd.to_numeric(values.astype("str"), errors="coerce")
    bad = values[~np.isfinite(as_numbers.to_numpy(np.float64))]
    if len(bad):
        said = "is empty" if pd.isna(bad.iloc[0]) else f"holds {bad.iloc[0]!r}, which is no number"
        raise TaskError(f"{path}: column {values.name!r}: row {row_number(bad, 0)} {said}")
    return as_numbers.to_numpy(np.float32)[:, None]


def unseen(what: str, codes: NDArray[np.int64], names: Sequence[str]) -> Iterator[str]:
    """A note on the users or items [n] that training has not, where there are some.

    Args:
        what: "users" or "items".
        names: as the file writes them, [n].
    """
    new = list(dict.fromkeys(np.array(names, dtype=object)[codes == 0]))
    if new:
        yield f"{len(new)} {what} are not in training and are taken for the mean of all: {some(new, 5)}"


def unrated(fitted: Fitted, users: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The pairs [n, 2] of each of these users with every item that it has not rated in training."""
    pairs, items = fitted.pairs(), np.arange(1, 1 + len(fitted.items))
    of_users = [(user, np.setdiff1d(items, pairs[pairs[:, 0] == user, 1])) for user in users]
    return [np.stack([np.full_like(left, user), left], axis=1) for user, left in of_users]


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `ratings` come to."""
    return Rated(RatingsOptions.parse(options)).describe()


def _codes(levels: tuple[str, ...], values: pd.Series[Any]) -> NDArray[np.int64]:
    """Codes [n], as a table has them of a category's."""
    return to_codes(Category(str(values.name), levels), values, Notes())


def _packed(pairs: NDArray[np.int64]) -> str:
    return base64.b64encode(zlib.compress(pairs.astype("<i4").T.tobytes())).decode()


def _unpacked(text: str) -> NDArray[np.int64]:
    try:
        content = zlib.decompress(base64.b64decode(text, validate=True), bufsize=2**16)
        return np.frombuffer(content, dtype="<i4").reshape(2, -1).T.astype(np.int64)
    except (ValueError, zlib.error) as error:
        raise TaskError(f"what was fitted to the ratings is damaged ({error})") from error
