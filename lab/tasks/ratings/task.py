"""The task `ratings`: what a user thinks of an item, from the ratings that are there. n pairs of a user and an item."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.description import Description
from lab.tasks.options import constructed_by
from lab.tasks.ratings.net import DotProduct, EmbeddingNet
from lab.tasks.ratings.options import DOT, RatingsOptions
from lab.tasks.ratings.rated import Fitted, Rated, numbers, unrated, unseen
from lab.tasks.scored_task import ScoredTask
from lab.tasks.table.frame import read_frame
from lab.tasks.table.from_frame import as_file, frame_of
from lab.tasks.table.levels import levels_among
from lab.tasks.task import Baseline, Data, Given, Split

_MOST_RANKED = 20_000_000
"""Pairs that are predicted for one command."""
_RIDGE = 5.0


class Ratings(ScoredTask):
    """Collaborative filtering: embeddings of users and of items.

    The parameters are those of `RatingsOptions`, and hyperparameters it knows `dropout` and `factors`.

    >>> rows = [f"{u},{i},{1 + (u * i) % 5}" for u in range(12) for i in range(10) if (u + i) % 3]
    >>> _ = Path("ratings.csv").write_text("\\n".join(["user,item,rating", *rows]))
    >>> task = Ratings("ratings.csv")
    >>> task.kind, task.metric, task.data("train")[0].shape
    ('regression', 'rmse', torch.Size([48, 2]))
    """

    kind = "regression"
    paths = RatingsOptions.paths()

    @constructed_by(RatingsOptions)
    def __init__(self, options: RatingsOptions) -> None:
        self._options = options
        self.options = options.plain()
        self._fitted: Fitted | None = None
        self._tensors: dict[Split, Data] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as its options: a worker reads the table itself."""
        return _rebuilt, (type(self), dict(self.options), self._fitted)

    @cached_property
    def _rated(self) -> Rated:
        return Rated(self._options)

    @property
    def _learned(self) -> Fitted:
        return self._fitted or self._rated.fitted

    @property
    def class_names(self) -> Any:  # type: ignore[override]
        return (self._options.rating,)

    # The contract.

    def data(self, split: Split) -> Data:
        """Codes int64 [n, 2] of users and items, and ratings [n, 1]."""
        if split not in self._tensors:
            x = torch.from_numpy(self._rated.codes(split, self._learned))
            self._tensors[split] = x, torch.from_numpy(self._rated.ratings(split))
        return self._tensors[split]

    def fold_of_rows(self) -> NDArray[np.int64] | None:
        return self._rated.folds

    def take(self, splits: Mapping[Split, Data]) -> None:
        self._tensors.update(splits)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        fitted, options = self._learned, self._options
        dropout, factors = float(params.get("dropout", 0.0)), int(params.get("factors", options.factors))
        beyond = options.margin * (fitted.high - fitted.low)
        ends = fitted.low - beyond, fitted.high + beyond
        users, items = len(fitted.users), len(fitted.items)
        if options.model == DOT:
            return DotProduct(users, items, factors, dropout, fitted.mean, ends)
        return EmbeddingNet(users, items, factors, options.layers, dropout, ends)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The squared error in standard deviations of the ratings, [n], or the absolute one where the metric asks."""
        over = (output - target)[:, 0] / self._learned.std
        return over.abs() if self.metric == "mae" else over.pow(2)

    # A user's later files and the report.

    def read(self, path: str | Path) -> Given:
        """Pairs of a user and an item; or users alone, for each of whom the items are ranked that are not rated yet."""
        path = Path(path)
        options, fitted = self._options, self._learned
        frame = read_frame(path, options)
        if options.user not in frame.columns:
            raise TaskError(f"{path}: has no column {options.user!r}")
        if options.item not in frame.columns:
            return self._to_rank(path, levels_among(frame[options.user]))
        codes = fitted.codes(frame[options.user], frame[options.item])
        names = {name: tuple(map(str, frame[name])) for name in (options.user, options.item)}
        notes = (
            *unseen("users", codes[:, 0], names[options.user]),
            *unseen("items", codes[:, 1], names[options.item]),
        )
        y = None
        if options.rating in frame.columns:
            try:
                y = torch.from_numpy(numbers(frame[options.rating], path))
            except TaskError as error:  # what is to be predicted is often there and empty
                notes += (f"is not scored: {error}",)
        return Given(torch.from_numpy(codes), y, notes=notes, beside=names)

    def accept(self, raw: Any) -> Given:
        """Rows of a pandas frame like the table of ratings."""
        with as_file(frame_of(raw)) as path:
            return self.read(path)

    def _to_rank(self, path: Path, users: tuple[str, ...]) -> Given:
        fitted, options = self._learned, self._options
        if len(users) * len(fitted.items) > _MOST_RANKED:
            most = _MOST_RANKED // len(fitted.items)
            raise TaskError(f"{path}: {len(users)} users times {len(fitted.items)} items; take at most {most} at once")
        of_users = fitted.codes_of_users(pd.Series(users))
        ranked = unrated(fitted, of_users)
        codes = np.concatenate(ranked)
        names = {
            options.user: tuple(user for user, of_user in zip(users, ranked, strict=True) for _ in range(len(of_user))),
            options.item: tuple(fitted.items[item - 1] for item in codes[:, 1]),
        }
        notes = [*unseen("users", of_users, users)]
        if fitted.rated is None:
            notes.append("training has too many ratings to keep: what was rated may be among what is recommended")
        return Given(torch.from_numpy(codes), notes=tuple(notes), beside=names, ranked_within=options.user)

    def fitted(self) -> Mapping[str, Any]:
        return self._learned.dump()

    def restore(self, fitted: Mapping[str, Any]) -> None:
        self._fitted = Fitted.load(fitted)

    def describe(self) -> Description:
        return self._rated.describe()

    def features(self, x: Tensor) -> NDArray[np.float64]:
        """Codes [n, 2]."""
        return x.cpu().numpy().astype(np.float64)

    def baselines(self, seed: int) -> tuple[Baseline, ...]:
        """A constant, and ridge regression on who rates and what is rated: the biases alone."""
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        from lab.tasks.baselines import constant

        biases = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge(_RIDGE, solver="sparse_cg"))
        return constant(self), Baseline("users' and items' biases (scikit-learn's ridge)", biases)

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        row = self._rated.part(split).iloc[index]
        return {str(name): str(row[name]) for name in row.index}


def _rebuilt(cls: type[Ratings], options: dict[str, Any], fitted: Fitted | None) -> Ratings:
    task = cls(**options)
    task._fitted = fitted
    return task
