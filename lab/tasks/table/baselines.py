"""scikit-learn's models of the same columns as the net: a linear one, and forests.

They learn from codes, then standardised numbers, NaN where missing (`Table.features`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from lab.tasks.baselines import linear_model, linear_name
from lab.tasks.scored import quantile_of
from lab.tasks.table.encoding import categories_of, numbers_of
from lab.tasks.table.fitted import Fitted
from lab.tasks.task import Baseline

_MOST_LEVELS = 255
"""Categories of more levels are numbers to histogram gradient boosting, which has no more bins."""
_TREES = 200
"""Trees of a random forest."""


def linear(fitted: Fitted) -> Baseline:
    """Logistic or ridge regression on categories one by one, standardised numbers, and which of these are missing."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = len(categories_of(fitted.columns))
    features = categories + len(numbers_of(fitted.columns))
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_by_one = OneHotEncoder(handle_unknown="ignore", max_categories=_MOST_LEVELS)
    parts = [
        ("categories", one_by_one, list(range(categories))),
        ("numbers", numbers, list(range(categories, features))),
    ]
    columns = ColumnTransformer([part for part in parts if part[2]])
    kind = fitted.target.kind
    return Baseline(linear_name(kind), make_pipeline(columns, linear_model(kind)))


def forests(fitted: Fitted, metric: str, seed: int) -> tuple[Baseline, ...]:
    """A random forest of 200 trees, and histogram gradient boosting; everything else as scikit-learn has it."""
    return (
        Baseline("random forest (scikit-learn)", _random_forest(fitted, seed)),
        Baseline("histogram gradient boosting (scikit-learn)", _boosting(fitted, metric, seed)),
    )


def _random_forest(fitted: Fitted, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    forest = RandomForestRegressor if fitted.target.kind == "regression" else RandomForestClassifier
    return forest(n_estimators=_TREES, random_state=seed, n_jobs=-1)


def _boosting(fitted: Fitted, metric: str, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.multioutput import MultiOutputRegressor

    target = fitted.target
    levels = [c.codes for c in categories_of(fitted.columns)]
    mask = [n <= _MOST_LEVELS for n in levels] + [False] * len(numbers_of(fitted.columns))
    if target.kind == "regression":
        one = HistGradientBoostingRegressor(categorical_features=mask, random_state=seed, **_loss_of(metric))
        return MultiOutputRegressor(one) if len(target.names) > 1 else one
    one = HistGradientBoostingClassifier(categorical_features=mask, random_state=seed)
    return OneVsRestClassifier(one) if target.kind == "multilabel" else one


def _loss_of(metric: str) -> dict[str, Any]:
    """The loss that the metric asks for, where boosting has it."""
    quantile = quantile_of(metric)
    if quantile is not None:
        return {"loss": "quantile", "quantile": quantile}
    return {"loss": "absolute_error"} if metric == "mae" else {}


def of_each_target(fitted: Fitted, seed: int) -> tuple[Baseline, ...]:
    """The same where targets are of different kinds: a model of its own for each."""
    from lab.tasks.table.each_target import OfEachTarget

    kinds: dict[str, Callable[[Fitted], Any]] = {
        "the commonest class and the mean of each target": _constants,
        f"{linear_name('classification')} and {linear_name('regression')}": _linear,
        "histogram gradient boosting (scikit-learn)": partial(_boosting, metric="", seed=seed),
    }
    parts = [replace(fitted, target=part) for part in fitted.target.parts]
    classes = [len(part.levels) for part in fitted.target.parts]
    return tuple(
        Baseline(name, OfEachTarget([make(one) for one in parts], classes), joins=False) for name, make in kinds.items()
    )


def _linear(fitted: Fitted) -> Any:
    return linear(fitted).estimator


def _constants(fitted: Fitted) -> Any:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyRegressor() if fitted.target.kind == "regression" else DummyClassifier(strategy="prior")
