"""Forests on the net's split and columns: in the net's form, and as good as the data allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from lab.tasks.table.baselines import forests, linear
from lab.tasks.table.options import TableOptions
from lab.tasks.table.table_data import TableData
from tests.own_data import table, write_table


def _data(tmp_path: Path, frame: pd.DataFrame, target: Any) -> TableData:
    return TableData(TableOptions(str(write_table(tmp_path / "t.parquet", frame)), target))


@pytest.mark.parametrize("number", [0, 1])
def test_classes_get_probabilities(tmp_path: Path, number: int):
    frame = table(200)
    frame.loc[::7, "number"] = np.nan
    data = _data(tmp_path, frame, "answer")
    baseline = forests(data, seed=0)[number]
    predict = baseline.fit()
    found = predict("test")
    assert (found.shape, found.dtype) == ((40, 2), torch.float32)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(40))
    assert (found.argmax(dim=1).numpy() == data.targets("test")).mean() > 0.7
    assert torch.equal(forests(data, seed=0)[number].fit()("test"), found)


@pytest.mark.parametrize("number", [0, 1])
def test_labels_get_a_probability_each(tmp_path: Path, number: int):
    frame = table(200).assign(a=lambda f: (f["number"] > 0) * 1, b=lambda f: (f["letter"] == "x") * 1)
    data = _data(tmp_path, frame.drop(columns="answer"), ["a", "b"])
    found = forests(data, seed=0)[number].fit()("test")
    assert found.shape == (40, 2)
    assert ((found > 0.5).numpy() == (data.targets("test") > 0.5)).mean() > 0.9


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("targets", [["y"], ["y", "z"]])
def test_values_are_predicted_as_they_are(tmp_path: Path, number: int, targets: list[str]):
    random = np.random.default_rng(5)
    frame = table(300).assign(y=lambda f: 10 * f["number"] + random.normal(size=300) * 0.1)
    frame = frame.assign(z=lambda f: f["number"] ** 2 + random.normal(size=300) * 0.1)
    data = _data(tmp_path, frame[["number", "letter", *targets]], targets)
    found = forests(data, seed=0)[number].fit()("test")
    assert found.shape == (60, len(targets))
    true = data.targets("test")
    assert ((found.numpy() - true) ** 2).mean() < 0.3 * true.var()


def test_boosting_is_scikit_learns_own_on_codes_and_raw_numbers(tmp_path: Path):
    random = np.random.default_rng(5)
    frame = table(200).assign(y=lambda f: f["number"] + random.normal(size=200))[["number", "letter", "y"]]
    data = _data(tmp_path, frame, "y")
    codes = {letter: code for code, letter in enumerate("xyz", start=1)}

    def features(split: str) -> np.ndarray:
        part = data.part(split)
        return np.stack([part["letter"].map(codes).astype(float), part["number"]], axis=1)

    model = HistGradientBoostingRegressor(categorical_features=[True, False], random_state=3)
    model.fit(features("train"), data.part("train")["y"].astype(np.float32))
    found = forests(data, seed=3)[1].fit()("test")
    np.testing.assert_allclose(found[:, 0], model.predict(features("test")), rtol=1e-5)


@pytest.mark.parametrize(("targets", "shape"), [("answer", (40, 2)), (["a", "b"], (40, 2)), (["y"], (40, 1))])
def test_the_linear_model_takes_gaps_categories_and_levels_not_seen(tmp_path: Path, targets: Any, shape: Any):
    frame = table(200).assign(a=lambda f: (f["number"] > 0) * 1, b=lambda f: (f["letter"] == "x") * 1)
    frame["y"] = 10 * frame["number"] + 3 * (frame["letter"] == "x")
    others = {"answer", "a", "b", "y"} - {targets if isinstance(targets, str) else None, *targets}
    frame.loc[::7, "number"] = np.nan
    data = _data(tmp_path, frame.drop(columns=sorted(others)), targets)
    found = linear(data).fit()("test")
    assert (found.shape, found.dtype) == (shape, torch.float32)
    true = data.targets("test")
    if targets == "answer":
        torch.testing.assert_close(found.sum(dim=1), torch.ones(40))
        assert (found.argmax(dim=1).numpy() == true).mean() > 0.7
    elif len(targets) == 2:
        assert ((found > 0.5).numpy() == (true > 0.5)).mean() > 0.8
    else:
        assert ((found.numpy() - true) ** 2).mean() < 0.6 * true.var()


def test_the_linear_model_of_one_kind_of_columns(tmp_path: Path):
    frame = table(200)
    for column in ("number", "letter"):
        assert linear(_data(tmp_path, frame[[column, "answer"]], "answer")).fit()("test").shape == (40, 2)
