"""Targets of several kinds as one tensor: their losses, metrics and words, each as it would be alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import lab
from lab.errors import TaskError
from lab.study.study import Study
from lab.tasks.checks import check_task
from lab.tasks.several_targets import Classes, SeveralTargets, Targets, Values
from lab.tasks.task import Split

RICE = Targets({"disease": Classes(("blast", "brown", "ok")), "age": Values(std=2.0), "variety": Classes(("a", "b"))})
OUTPUT = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
TARGETS = {"disease": torch.arange(8) % 3, "age": torch.linspace(1, 3, 8), "variety": torch.arange(8) % 2}


def test_each_has_the_loss_that_it_would_have_alone() -> None:
    y = RICE.packed(TARGETS)
    alone = torch.stack(
        [
            nn.functional.cross_entropy(OUTPUT[:, :3], TARGETS["disease"], reduction="none"),
            ((OUTPUT[:, 3] - TARGETS["age"]) / 2).pow(2),
            nn.functional.cross_entropy(OUTPUT[:, 4:], TARGETS["variety"], reduction="none"),
        ]
    )
    torch.testing.assert_close(RICE.loss(OUTPUT, y), alone.mean(dim=0))
    weighted = Targets(RICE.parts, {"age": 4.0})
    torch.testing.assert_close(weighted.loss(OUTPUT, y), (alone * torch.tensor([[1.0], [4], [1]])).sum(dim=0) / 6)
    drawn = torch.cat([y, torch.tensor([0.0, 0.0, 2.0]).expand(8, 3)], dim=1)
    torch.testing.assert_close(RICE.loss(OUTPUT, drawn), alone[2])


def test_each_has_its_metric_of_outputs_and_of_predictions_alike() -> None:
    y = RICE.packed(TARGETS)
    assert list(RICE.metrics) == ["accuracy_disease", "rmse_age", "accuracy_variety"]
    for output in (OUTPUT, RICE.predict(OUTPUT)):
        hits = (output[:, :3].argmax(dim=1) == TARGETS["disease"]).double().mean()
        assert float(RICE.metrics["accuracy_disease"](output, y)) == pytest.approx(float(hits))
        apart = (OUTPUT[:, 3] - TARGETS["age"]).pow(2).mean().sqrt()
        assert float(RICE.metrics["rmse_age"](output, y)) == pytest.approx(float(apart))
    torch.testing.assert_close(RICE.loss(OUTPUT, y), RICE.loss(RICE.predict(OUTPUT), y))


@pytest.mark.parametrize(("metric", "loss"), [("mae", 1.5), ("quantile:0.9", 0.15), ("r2", 2.25)])
def test_a_value_is_learned_by_the_loss_that_its_metric_asks_for(metric: str, loss: float) -> None:
    one = Targets({"age": Values(2.0, metric), "disease": Classes(("a", "b"))}, {"disease": 1e-9})
    y = one.packed({"age": torch.tensor([1.0]), "disease": torch.tensor([0])})
    assert float(one.loss(torch.tensor([[4.0, 0.0, 0.0]]), y)) == pytest.approx(loss, rel=1e-5)


def test_the_primary_says_what_trials_are_compared_by() -> None:
    aged = Targets({**RICE.parts, "age": Values(metric="r2")}, primary="age")
    assert (aged.metric, aged.direction) == ("r2_age", "maximize")
    assert (RICE.metric, RICE.direction) == ("accuracy_disease", "maximize")


def test_predictions_are_read_as_classes_probabilities_and_values() -> None:
    prediction = RICE.predict(OUTPUT)
    table = RICE.readable(prediction)
    names = [f"p_disease_{name}" for name in ("blast", "brown", "ok")]
    assert [*table] == ["disease", *names, "age", "variety", "p_variety_a", "p_variety_b"]
    torch.testing.assert_close(sum(table[name] for name in names), torch.ones(8))
    assert table["disease"] == [("blast", "brown", "ok")[i] for i in OUTPUT[:, :3].argmax(dim=1).tolist()]
    prediction[0, 0] = torch.nan
    assert RICE.readable(prediction)["disease"][0] == ""
    assert RICE.readable(prediction)["variety"][0] != ""
    assert RICE.in_words(prediction[1], RICE.packed(TARGETS)[1]).startswith("disease brown (")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"disease": [0], "age": [1.0]}, "targets disease, age were given; they are disease, age, variety"),
        ({"disease": [3], "age": [1.0], "variety": [0]}, "target 'disease': holds 3 to 3, for 3 classes"),
        ({"disease": [0.5], "age": [1.0], "variety": [0]}, "target 'disease': holds 0.5 to 0.5, for 3 classes"),
        ({"disease": [0, 1], "age": [1.0], "variety": [0]}, "target 'age': is of shape (1,); all are [n]"),
    ],
)
def test_other_targets_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError) as caught:
        RICE.packed({name: torch.tensor(value) for name, value in values.items()})
    assert str(caught.value) == message


def test_targets_that_cannot_be_are_refused() -> None:
    with pytest.raises(TaskError, match="several are two at least"):
        Targets({"a": Values()})
    with pytest.raises(TaskError, match="target 'b': has fewer than two classes"):
        Targets({"a": Values(), "b": Classes(("x",))})
    with pytest.raises(TaskError, match="'c' is none of them; there are a, b"):
        Targets({"a": Values(), "b": Values()}, primary="c")
    with pytest.raises(TaskError, match=r"^targets: \[1\] is not a mapping of names to Classes and Values"):
        Targets([1])  # type: ignore[arg-type]
    with pytest.raises(TaskError, match=r"^target 'b': 3 is neither Classes nor Values"):
        Targets({"a": Values(), "b": 3})  # type: ignore[dict-item]


@pytest.mark.parametrize("names", [3, "ny", (1, 2), ("a", "a"), None])
def test_classes_have_names_of_their_own(names: Any) -> None:
    with pytest.raises(TaskError, match=r"^Classes.names: "):
        Classes(names)


@pytest.mark.parametrize("std", [0, -1.0, float("nan"), float("inf"), "a", None])
def test_values_have_a_spread(std: Any) -> None:
    with pytest.raises(TaskError, match=r"^Values.std: .* is not a number above 0"):
        Values(std=std)


def test_a_model_of_other_outputs_is_told_how_many_there_are() -> None:
    targets = Targets({"disease": Classes(("blast", "ok")), "age": Values()})
    with pytest.raises(TaskError, match="the model has 2 outputs; the targets disease, age take 3"):
        targets.loss(torch.zeros(4, 2), torch.zeros(4, 2))


def test_targets_that_are_no_mapping_are_named() -> None:
    class Bare(SeveralTargets):
        targets = Targets({"disease": Classes(("blast", "ok")), "age": Values()})

        def model(self, params: Mapping[str, Any]) -> nn.Module:
            return nn.Linear(2, 3)

        def data(self, split: Split) -> Any:
            return torch.zeros(6, 2), torch.zeros(6)

    with pytest.raises(
        TaskError, match=r"^Bare.data\('train'\): its targets are no mapping of disease, age to tensors"
    ):
        Bare().data("train")


class Rice(SeveralTargets):
    targets = Targets({"disease": Classes(("blast", "ok")), "age": Values(std=10.0)})

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Sequential(nn.Dropout(params.get("dropout", 0.0)), nn.Linear(2, self.targets.width))

    def data(self, split: Split) -> Any:
        seed = {"train": 0, "valid": 1, "test": 2}[split]
        x = torch.randn(60, 2, generator=torch.Generator().manual_seed(seed))
        return x, {"disease": (x[:, 0] > 0).long(), "age": 10 * x[:, 1]}


class Read(Rice):
    """As a data set that gives a mapping of targets."""

    def data(self, split: Split) -> Any:
        x, y = Rice().data(split)

        class Examples(Dataset[Any]):
            def __len__(self) -> int:
                return len(x)

            def __getitem__(self, i: int) -> tuple[Tensor, dict[str, Any]]:
                return x[i], {"disease": int(y[i, 0]), "age": float(y[i, 1])}

        return Examples()


def test_a_data_set_may_give_them_by_name() -> None:
    for made, read in zip(Rice().data("train"), Read().data("train"), strict=True):
        torch.testing.assert_close(made, read)
    check_task(Read(), {})


def test_a_study_of_a_users_own_task_hands_out_both(tmp_path: Path) -> None:
    assert lab.SeveralTargets is SeveralTargets
    settings: dict[str, Any] = {"final": {"epochs": 2, "seeds": 1, "controls": "none"}, "batch_size": 16}
    space = lab.Space(max_lr=lab.Float(1e-3, 0.1, log=True), dropout=lab.Float(0.0, 0.3))
    study = Study(Rice(), space, name="rice", folder=tmp_path / "run", trials=2, epochs=2, **settings)
    result = study.run(engine="local", width=2)
    assert set(result.artefact("ensemble")["chosen"]["test"]) == {"accuracy_disease", "rmse_age"}
    x, y = result.ensemble.test_data()
    module, prediction = result.ensemble.as_module(x), result.ensemble.predict(x)
    torch.testing.assert_close(module(x), Rice.targets.shares(prediction), rtol=1e-4, atol=1e-5)
    assert result.summary.handed is not None
    assert result.ensemble.scores(prediction, y)["accuracy_disease"] == pytest.approx(result.summary.handed.score)
