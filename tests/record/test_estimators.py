"""Trees come back as they were; a file from elsewhere makes nothing but scikit-learn's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.preprocessing import FunctionTransformer
from skops.io import dumps

from lab.errors import RecordError
from lab.record.estimators import load_estimator, pack_estimator
from lab.tasks.baselines import linear_model

_X = np.random.default_rng(0).normal(size=(60, 3))
_X[:, 0] = np.arange(60) % 4
_CLASSES = (_X[:, 1] > 0).astype(int)
_LABELS = np.stack([_CLASSES, _X[:, 2] > 0], axis=1).astype(int)
_MASK = [True, False, False]


@pytest.mark.parametrize(
    ("estimator", "y"),
    [
        (RandomForestClassifier(5, random_state=0), _CLASSES),
        (RandomForestClassifier(5, random_state=0), _LABELS),
        (RandomForestRegressor(5, random_state=0), _X[:, 1]),
        (HistGradientBoostingClassifier(max_iter=5, categorical_features=_MASK), _CLASSES),
        (OneVsRestClassifier(HistGradientBoostingClassifier(max_iter=5, categorical_features=_MASK)), _LABELS),
        (HistGradientBoostingRegressor(max_iter=5, loss="quantile", quantile=0.9), _X[:, 1]),
        (HistGradientBoostingRegressor(max_iter=5, loss="absolute_error"), _X[:, 1]),
        (MultiOutputRegressor(HistGradientBoostingRegressor(max_iter=5)), _X[:, 1:]),
        (linear_model("classification"), _CLASSES),
        (linear_model("multilabel"), _LABELS),
        (linear_model("regression"), _X[:, 1:]),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else str(value.shape),
)
def test_an_estimator_predicts_as_before(tmp_path: Path, estimator: Any, y: Any):
    estimator.fit(_X, y)
    content = pack_estimator(estimator)
    assert content is not None
    (tmp_path / "e.skops").write_bytes(content)
    again = load_estimator(tmp_path / "e.skops")
    how = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
    assert np.array_equal(getattr(again, how)(_X), getattr(estimator, how)(_X))


def test_a_function_of_somebody_is_not_made_again(tmp_path: Path):
    import shutil

    transformer = FunctionTransformer(shutil.rmtree)
    assert pack_estimator(transformer) is None
    (tmp_path / "e.skops").write_bytes(dumps(transformer))
    with pytest.raises(RecordError, match=r"e\.skops: holds shutil\.rmtree, which is not made again: it may run code"):
        load_estimator(tmp_path / "e.skops")


@pytest.mark.parametrize("content", [b"", b"PK", dumps(_X)[:-30]])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "e.skops").write_bytes(content)
    with pytest.raises(RecordError, match=r"e\.skops: is no skops file") as raised:
        load_estimator(tmp_path / "e.skops")
    assert "\n" not in str(raised.value)
    with pytest.raises(RecordError, match="cannot be read"):
        load_estimator(tmp_path / "none.skops")
