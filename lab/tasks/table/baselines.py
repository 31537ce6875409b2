"""scikit-learn's models on the same split and the same columns as the net: a linear one, and forests.

Shapes: n rows, c classes or labels, t targets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from torch import Tensor

from lab.tasks.baselines import fit_linear, linear_name
from lab.tasks.scored import quantile_of
from lab.tasks.table.encoding import categories_of, numbers_of
from lab.tasks.table.table_data import TableData
from lab.tasks.task import Baseline, Split

_MOST_LEVELS = 255
"""Categories of more levels are numbers to histogram gradient boosting, which has no more bins."""

_LARGEST = float(np.finfo(np.float32).max)
"""scikit-learn's trees hold numbers of 32 bits."""


def forests(data: TableData, seed: int) -> tuple[Baseline, ...]:
    """A random forest of 200 trees, and histogram gradient boosting; everything else as scikit-learn has it."""
    return (
        Baseline("random forest (scikit-learn)", partial(_fit, data, _random_forest(data, seed), True)),
        Baseline("histogram gradient boosting (scikit-learn)", partial(_fit, data, _boosting(data, seed), False)),
    )


def linear(data: TableData) -> Baseline:
    """Logistic or ridge regression on categories one by one, standardised numbers, and which of these are missing."""
    return Baseline(linear_name(data.fitted.target.kind), partial(_fit_linear, data))


def _fit_linear(data: TableData, *splits: Split) -> Callable[[Split], Tensor]:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    target, categories = data.fitted.target, len(categories_of(data.fitted.columns))
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_by_one = OneHotEncoder(handle_unknown="ignore", max_categories=_MOST_LEVELS)
    train, y = _joined(data, splits, False)
    parts = [("categories", one_by_one, range(categories)), ("numbers", numbers, range(categories, train.shape[1]))]
    columns = ColumnTransformer([(name, how, [*which]) for name, how, which in parts if which])
    predict = fit_linear(
        target.kind,
        columns.fit_transform(train),
        y,
        len(target.class_names),
    )
    return lambda split: predict(columns.transform(_features(data, split, False)))


def _random_forest(data: TableData, seed: int) -> Any:
    classes = data.fitted.target.kind != "regression"
    forest = RandomForestClassifier if classes else RandomForestRegressor
    return forest(n_estimators=200, random_state=seed, n_jobs=-1)


def _boosting(data: TableData, seed: int) -> Any:
    target = data.fitted.target
    levels = [len(c.levels) + 1 for c in categories_of(data.fitted.columns)]
    mask = [n <= _MOST_LEVELS for n in levels] + [False] * len(numbers_of(data.fitted.columns))
    kind = HistGradientBoostingRegressor if target.kind == "regression" else HistGradientBoostingClassifier
    one = kind(categorical_features=mask, random_state=seed, **_loss_of(data))
    if target.kind == "multilabel":
        return MultiOutputClassifier(one)
    return MultiOutputRegressor(one) if target.kind == "regression" and len(target.names) > 1 else one


def _loss_of(data: TableData) -> dict[str, Any]:
    """The loss that the metric asks for, where boosting has it."""
    if data.fitted.target.kind != "regression" or data.options.metric is None:
        return {}
    quantile = quantile_of(data.options.metric)
    if quantile is not None:
        return {"loss": "quantile", "quantile": quantile}
    return {"loss": "absolute_error"} if data.options.metric == "mae" else {}


def _fit(data: TableData, plan: Any, fill: bool, *splits: Split) -> Callable[[Split], Tensor]:
    x, y = _joined(data, splits, fill)
    kind = data.fitted.target.kind
    model = clone(plan).fit(x, y[:, 0] if kind == "regression" and y.shape[1] == 1 else y)
    return lambda split: _predict(model, _features(data, split, fill), kind, len(data.fitted.target.class_names))


def _joined(data: TableData, splits: tuple[Split, ...], fill: bool) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Features and targets of several splits, of the training split where none is named."""
    names = splits or ("train",)
    features = [_features(data, split, fill) for split in names]
    return np.concatenate(features), np.concatenate([data.targets(split) for split in names])


def _features(data: TableData, split: str, fill: bool) -> NDArray[np.float64]:
    """Codes and raw numbers [n, f]; missing numbers as medians where the model takes no NaN."""
    encoded = data.encoded(split)
    numbers = np.clip(encoded.numbers, -_LARGEST, _LARGEST)
    if fill and numbers.shape[1]:
        numbers = np.where(np.isnan(numbers), [n.median for n in numbers_of(data.fitted.columns)], numbers)
    return np.concatenate([encoded.codes.astype(np.float64), numbers], axis=1)


def _predict(model: Any, x: NDArray[np.float64], kind: str, classes: int) -> Tensor:
    if kind == "regression":
        values = model.predict(x)
        return torch.tensor(values.reshape(len(x), -1), dtype=torch.float32)
    if kind == "multilabel":
        pairs = zip(model.predict_proba(x), model.classes_, strict=True)
        return torch.tensor(
            np.stack([_of_one(p, label_classes) for p, label_classes in pairs], axis=1), dtype=torch.float32
        )
    probabilities = np.zeros((len(x), classes))
    probabilities[:, model.classes_.astype(int)] = model.predict_proba(x)
    return torch.tensor(probabilities, dtype=torch.float32)


def _of_one(probabilities: NDArray[np.float64], classes: NDArray[Any]) -> NDArray[np.float64]:
    """P(label = 1) [n]; a label that is constant in the training rows has one column only."""
    if len(classes) == 1:
        return np.full(len(probabilities), float(classes[0]))
    of_true: NDArray[np.float64] = probabilities[:, 1]
    return of_true
