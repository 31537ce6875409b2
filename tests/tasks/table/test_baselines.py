"""Forests on the net's split and columns: in the net's form, and as good as the data allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from lab.tasks.baselines import fit_baseline, prediction_of
from lab.tasks.table.task import Table
from lab.tasks.task import Split
from tests.own_data import table, write_table

FORESTS = pytest.mark.parametrize("number", [2, 3])
LINEAR, BOOSTING = 1, 3


def _task(tmp_path: Path, frame: pd.DataFrame, target: Any) -> Table:
    return Table(str(write_table(tmp_path / "t.parquet", frame)), target)


def _predicted(task: Table, number: int, seed: int = 0) -> torch.Tensor:
    """What a baseline predicts for the test rows."""
    x, y = task.data("test")
    shape = (len(task.class_names),) if task.kind == "classification" else y.shape[1:]
    return prediction_of(fit_baseline(task, task.baselines(seed)[number], seed), task, x, shape)


def _true(task: Table) -> np.ndarray:
    return task.data("test")[1].numpy()


@FORESTS
def test_classes_get_probabilities(tmp_path: Path, number: int):
    frame = table(200)
    frame.loc[::7, "number"] = np.nan
    task = _task(tmp_path, frame, "answer")
    predicted = _predicted(task, number)
    assert (predicted.shape, predicted.dtype) == ((40, 2), torch.float64)
    torch.testing.assert_close(predicted.sum(dim=1), torch.ones(40, dtype=torch.float64))
    assert (predicted.argmax(dim=1).numpy() == _true(task)).mean() > 0.7
    assert torch.equal(_predicted(task, number), predicted)


@FORESTS
def test_labels_get_a_probability_each(tmp_path: Path, number: int):
    frame = table(200).assign(a=lambda f: (f["number"] > 0) * 1, b=lambda f: (f["letter"] == "x") * 1)
    task = _task(tmp_path, frame.drop(columns="answer"), ["a", "b"])
    predicted = _predicted(task, number)
    assert predicted.shape == (40, 2)
    assert ((predicted > 0.5).numpy() == (_true(task) > 0.5)).mean() > 0.9


@FORESTS
@pytest.mark.parametrize("targets", [["y"], ["y", "z"]])
def test_values_are_predicted_as_they_are(tmp_path: Path, number: int, targets: list[str]):
    random = np.random.default_rng(5)
    frame = table(300).assign(y=lambda f: 10 * f["number"] + random.normal(size=300) * 0.1)
    frame = frame.assign(z=lambda f: f["number"] ** 2 + random.normal(size=300) * 0.1)
    task = _task(tmp_path, frame[["number", "letter", *targets]], targets)
    predicted = _predicted(task, number)
    assert predicted.shape == (60, len(targets))
    true = _true(task)
    assert ((predicted.numpy() - true) ** 2).mean() < 0.3 * true.var()


def test_boosting_is_scikit_learns_own_on_codes_and_numbers_with_their_gaps(tmp_path: Path):
    random = np.random.default_rng(5)
    frame = table(200).assign(y=lambda f: f["number"] + random.normal(size=200))[["number", "letter", "y"]]
    frame.loc[::7, "number"] = np.nan
    task = _task(tmp_path, frame, "y")
    codes = {letter: code for code, letter in enumerate("xyz", start=1)}

    def features(split: Split) -> np.ndarray:
        part = task.rows_of(split)
        return np.stack([part["letter"].map(codes).astype(float), part["number"]], axis=1)

    model = HistGradientBoostingRegressor(categorical_features=[True, False], random_state=3)
    model.fit(features("train"), task.rows_of("train")["y"].astype(np.float32))
    np.testing.assert_allclose(_predicted(task, BOOSTING, 3)[:, 0], model.predict(features("test")), rtol=1e-5)


@pytest.mark.parametrize(("targets", "shape"), [("answer", (40, 2)), (["a", "b"], (40, 2)), (["y"], (40, 1))])
def test_the_linear_model_takes_gaps_categories_and_levels_not_seen(tmp_path: Path, targets: Any, shape: Any):
    frame = table(200).assign(a=lambda f: (f["number"] > 0) * 1, b=lambda f: (f["letter"] == "x") * 1)
    frame["y"] = 10 * frame["number"] + 3 * (frame["letter"] == "x")
    others = {"answer", "a", "b", "y"} - {targets if isinstance(targets, str) else None, *targets}
    frame.loc[::7, "number"] = np.nan
    task = _task(tmp_path, frame.drop(columns=sorted(others)), targets)
    predicted, true = _predicted(task, LINEAR), _true(task)
    assert predicted.shape == shape
    if targets == "answer":
        torch.testing.assert_close(predicted.sum(dim=1), torch.ones(40, dtype=torch.float64))
        assert (predicted.argmax(dim=1).numpy() == true).mean() > 0.7
    elif len(targets) == 2:
        assert ((predicted > 0.5).numpy() == (true > 0.5)).mean() > 0.8
    else:
        assert ((predicted.numpy() - true) ** 2).mean() < 0.6 * true.var()


@pytest.mark.parametrize("column", ["number", "letter"])
def test_the_linear_model_of_one_kind_of_columns(tmp_path: Path, column: str):
    assert _predicted(_task(tmp_path, table(200)[[column, "answer"]], "answer"), LINEAR).shape == (40, 2)


def test_a_baseline_predicts_for_a_file_without_the_training_rows(tmp_path: Path):
    task = _task(tmp_path, table(200), "answer")
    forest = fit_baseline(task, task.baselines(0)[2], 0)
    write_table(tmp_path / "new.csv", table(30).drop(columns="answer"))
    later = Table(str(tmp_path / "gone.csv"), "answer")
    later.restore(task.fitted())
    predictions = [prediction_of(forest, t, t.read(tmp_path / "new.csv").x, (2,)) for t in (task, later)]
    assert torch.equal(*predictions)
