"""Texts with values, and with several targets of different kinds, by every kind of net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lab.errors import LabError, SpecError
from lab.tasks.build import build_model
from lab.tasks.checks import contract_suite
from lab.tasks.text.options import MODELS, LanguageOptions
from lab.tasks.text.reading import Texts
from lab.tasks.text.task import Text
from lab.training.equivalence import check_path
from tests.own_data import reviews, write_texts
from tests.tasks.text.tiny_bert import write_body

TARGET = ["label", "size"]


def _frame(n: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return reviews(n).assign(size=random.normal(50, 10, n).round(3), stars=[1 + i % 5 for i in range(n)])


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(write_texts(tmp_path / "texts.csv", _frame()))


def _broken(task: Text, params: dict[str, Any]) -> list[str]:
    return [f"{point.name}: {point.said}" for point in contract_suite(task, params) if not point.passed]


@pytest.mark.parametrize(
    ("options", "kind", "metric", "names"),
    [
        ({"target": "stars"}, "classification", "accuracy", ("1", "2", "3", "4", "5")),
        ({"target": "stars", "target_type": "number"}, "regression", "rmse", ("stars",)),
        ({"target": ["size", "stars"], "types": {"stars": "number"}}, "regression", "rmse", ("size", "stars")),
        ({"target": TARGET}, "regression", "accuracy_label", ("label_bad", "label_good", "size")),
        (
            {"target": ["label", "stars"], "types": {"stars": "category"}, "primary": "stars", "metric": "macro_f1"},
            "regression",
            "macro_f1_stars",
            ("label_bad", "label_good", "stars_1", "stars_2", "stars_3", "stars_4", "stars_5"),
        ),
    ],
)
def test_columns_of_every_kind_keep_the_contract(
    path: str, options: dict[str, Any], kind: str, metric: str, names: tuple[str, ...]
) -> None:
    task = Text(path, width=8, **options)
    assert (task.kind, task.metric, task.class_names) == (kind, metric, names)
    assert _broken(task, {"dropout": 0.1, "word_dropout": 0.2}) == []


@pytest.mark.parametrize("model", MODELS)
def test_every_net_says_a_class_and_a_value(path: str, model: str) -> None:
    task = Text(path, model=model, width=8, target=TARGET)
    assert _broken(task, {"dropout": 0.1, "hidden": 3}) == []
    net = task.model({}).eval()
    learned = task.fitted()["target"]["parts"][1]
    x, y = task.data("train")
    assert learned["mean"] == pytest.approx([y[:, 1].double().mean().item()])
    head = net.get_submodule("head")
    torch.nn.init.zeros_(head.get_submodule("linear").weight)
    torch.nn.init.zeros_(head.get_submodule("linear").bias)
    with torch.no_grad():
        said = net(task.model_input(x[:2]))
    torch.testing.assert_close(said, torch.tensor([[0.0, 0.0, learned["mean"][0]]] * 2))


def test_a_pretrained_body_has_a_head_for_each_target(path: str, tmp_path: Path) -> None:
    folder = str(write_body(tmp_path / "bert"))
    for more in ({}, {"train": "head"}, {"adapter": {"rank": 2}}):
        task = Text(path, model="hf:", weights=folder, target=TARGET, **more)
        assert _broken(task, {"dropout": 0.1, "hidden": 4}) == []
        assert "values" in dict((task.model({}) if "train" in more else task.model({}).head).named_children())
        if "adapter" not in more:
            assert len(task.baselines(0)) == 2


def test_they_are_trained_as_one(path: str) -> None:
    task = Text(path, width=8, target=TARGET)
    x, y = task.data("train")
    check_path("stacked", task, lambda seed: build_model(task, {}, seed), task.model_input(x[:4]), y[:4])


@pytest.mark.parametrize("tokens", [None, 1, 2])
def test_targets_count_as_asked_beside_words_that_are_left_out(path: str, tokens: int | None) -> None:
    task = Text(path, target=TARGET, target_weights={"size": 3.0}, word_dropout=0.5, max_tokens=tokens)
    x, y = task.data("train")
    for params in ({"primary_weight": 2.0}, {"primary_weight": 2.0, "word_dropout": 0.0}):
        draws = task.draw(4, np.random.default_rng(0), params)
        assert draws is not None
        fewer, weighed = task.augment(task.model_input(x[:4])[None], y[:4][None], torch.from_numpy(draws)[None])
        assert fewer.shape == (1, *x[:4].shape)
        assert weighed[0].tolist() == [[*row, 2.0, 3.0] for row in y[:4].tolist()]


def test_a_linear_model_of_words_says_each_target(path: str) -> None:
    from lab.tasks.baselines import fit_baseline, prediction_of

    task = Text(path, target=TARGET)
    for baseline in task.baselines(0):
        x, y = task.data("valid")
        said = prediction_of(fit_baseline(task, baseline, 0), task, x, (3,))
        assert task.metrics["accuracy_label"](said, y) >= 0.5
        assert not baseline.joins


def test_a_later_table_is_read_and_scored_where_it_can_be(path: str, tmp_path: Path) -> None:
    again = Text("/no/longer/there.csv", target=TARGET)
    again.restore(json.loads(json.dumps(Text(path, target=TARGET).fitted())))
    inputs = again.read(Path(path))
    assert inputs.y is not None
    assert inputs.y[0].tolist() == [_frame()["label"][0] == "good", pytest.approx(_frame()["size"][0])]
    assert again.read(write_texts(tmp_path / "bare.csv", _frame()[["text", "size"]])).y is None
    odd = again.read(write_texts(tmp_path / "odd.csv", _frame(6).assign(label="fair")))
    assert odd.notes == ("is not scored: target 'label': class 'fair' is not in the training rows",)


def test_what_was_found_is_said_of_each_target(tmp_path: Path) -> None:
    rare = _frame().assign(label=["odd"] * 2 + ["good", "bad"] * 29)
    said = Text(str(write_texts(tmp_path / "t.csv", rare)), target=TARGET).describe()
    assert said.facts[:3] == (
        "target label: classification with 3 classes: bad, good, odd",
        "target size: regression",
        "2 targets of different kinds; trials are compared by the metric of label",
    )
    assert any("split: random" in fact for fact in said.facts)
    assert any("odd" in line and "scores say little of them" in line for line in said.warnings)


def test_a_language_model_splits_its_texts_as_they_are(path: str) -> None:
    for more in ({"target": TARGET}, {"target": "size", "target_type": "number"}):
        rows = Texts(LanguageOptions(path, **more)).rows
        of_classifier = Text(path, **more)._corpus.rows
        assert all((rows[split] == of_classifier[split]).all() for split in rows)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (_frame(), {"types": {"label": "number"}}, "column 'label': row 1 holds 'bad', which is no number"),
        (_frame(), {"types": {"stars": "number"}}, "task.types: 'stars' is no target; those are label, size"),
        (_frame(), {"types": {"size": "date"}}, "task.types: {'size': 'date'} is not a mapping of columns to number"),
        (_frame(), {"primary": "stars"}, "task.primary: 'stars' is no target; those are label, size"),
        (_frame(), {"target_weights": {"stars": 2}}, "task.target_weights: 'stars' is no target"),
        (_frame(), {"target_weights": {"size": 0}}, "task.target_weights: {'size': 0} is not a mapping of targets to"),
        (_frame(), {"metric": "rmse"}, "task.metric: 'rmse' is not for a target of classification"),
        (_frame(), {"target": "label", "target_type": "date"}, "task.target_type: 'date' is"),
        (_frame(), {"target": ["label", "text"]}, "task.text: 'text' is the target as well"),
        (_frame(), {"split": {"kind": "stratified"}}, "task.split.kind: 'stratified'"),
        (_frame().assign(size=1.0), {}, "target 'size': is constant (1.0); there is nothing to learn"),
        (_frame().iloc[:0], {}, "has no rows"),
        (_frame().iloc[:1], {}, "target 'label': is constant"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, frame: pd.DataFrame, options: dict[str, Any], message: str) -> None:
    path = write_texts(tmp_path / "t.csv", frame)
    with pytest.raises(LabError) as caught:
        Text(str(path), **{"target": TARGET, **options}).describe()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_target_of_values_has_not_is_refused_before_training(path: str) -> None:
    with pytest.raises(LabError, match=r"task\.balance: 0\.5 is for a target of classes alone; this one's are values"):
        Text(path, target=TARGET, balance=0.5).draw(4, np.random.default_rng(0), {})
    with pytest.raises(SpecError, match=r"task\.primary_weight: 0 "):
        Text(path, target=TARGET, primary_weight=0)
