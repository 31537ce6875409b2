"""A constant and a linear model beside any task: in the net's form, as good as closed forms say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from lab.tasks.baselines import constant, fit_baseline, pooled, prediction_of
from lab.tasks.description import Description
from lab.tasks.digits import Digits
from lab.tasks.task import TRAIN_AND_VALID, Baseline, Data, Kind, Metric, Split, Task, accuracy, joined, rmse
from lab.training.ensemble import scores


def mae(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs().mean()


class Fixed(Task):
    """The same examples in every split."""

    def __init__(self, kind: Kind, x: Tensor, y: Tensor, metric: Metric = accuracy) -> None:
        self.kind = kind
        self._data = x, y
        self.metrics = {"score": metric}
        self.metric = "score"
        self.direction = "minimize" if kind == "regression" else "maximize"

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(1, 1)

    def data(self, split: Split) -> Data:
        return self._data


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def predicted(task: Task, baseline: Baseline, on: Split = "test", splits: tuple[Split, ...] = ("train",)) -> Tensor:
    x, y = task.data(on)
    shape = (int(task.data("train")[1].max()) + 1,) if task.kind == "classification" else y.shape[1:]
    return prediction_of(fit_baseline(task, baseline, 0, joined(map(task.data, splits))), task, x, shape)


def fitted(task: Task) -> dict[str, Tensor]:
    return {baseline.name: predicted(task, baseline) for baseline in task.baselines(0)}


def test_the_commonest_class_is_named_with_its_share():
    y = torch.tensor([1] * 6 + [0] * 3 + [2])
    task = Fixed("classification", noise(10, 2), y)
    always = constant(task)
    assert always.name == "always the commonest class (1)"
    torch.testing.assert_close(predicted(task, always), torch.tensor([0.3, 0.6, 0.1]).double().expand(10, 3))


def test_labels_get_their_shares():
    y = torch.tensor([[1, 0], [1, 1], [0, 0], [1, 0]])
    task = Fixed("multilabel", noise(4, 2), y)
    torch.testing.assert_close(predicted(task, constant(task)), torch.tensor([0.75, 0.25]).double().expand(4, 2))


@pytest.mark.parametrize(("metric", "name", "value"), [(rmse, "mean", 2.5), (mae, "median", 1.0)])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_values_get_the_middle_that_the_metric_rewards(metric: Metric, name: str, value: float, shape: tuple[int, ...]):
    y = torch.tensor([0.0, 1.0, 1.0, 8.0]).view(shape)
    task = Fixed("regression", noise(4, 2), y, metric)
    always = constant(task)
    assert always.name == f"always the {name}"
    torch.testing.assert_close(predicted(task, always), torch.full(shape, value))


def test_the_linear_model_of_classes_is_scikit_learns():
    x = noise(200, 5)
    y = (x[:, 0] + 0.3 * noise(200, seed=1) > 0).long()
    p = fitted(Fixed("classification", x, y))["logistic regression (scikit-learn)"]
    scaled = StandardScaler().fit_transform(x.numpy())
    expected = LogisticRegression(max_iter=200).fit(scaled, y.numpy()).predict_proba(scaled)
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_a_linear_function_is_found():
    x = noise(300, 4)
    y = torch.stack([x @ torch.tensor([1.0, -2.0, 0.5, 0.0]), x[:, 3]], dim=1)
    by_name = fitted(Fixed("regression", x, y, rmse))
    assert float(rmse(by_name["ridge regression (scikit-learn)"], y)) < 0.01
    flat = fitted(Fixed("regression", x, y[:, 0], rmse))["ridge regression (scikit-learn)"]
    assert flat.shape == (300,)


def test_labels_of_which_one_never_varies_are_fitted():
    x = noise(200, 3)
    y = torch.stack([(x[:, 0] > 0), (x[:, 1] > 1), torch.zeros(200, dtype=torch.bool)], dim=1).long()
    p = fitted(Fixed("multilabel", x, y))["logistic regression (scikit-learn)"]
    assert p.shape == (200, 3)
    assert ((p > 0.5) == (y > 0)).float().mean() > 0.95
    assert not p[:, 2].any()


def test_a_class_that_training_lacks_has_no_probability():
    x = noise(60, 2)
    task = Fixed("classification", x, (x[:, 0] > 0) * 2)
    p = prediction_of(fit_baseline(task, task.baselines(0)[1], 0), task, x[:5], (4,))
    assert p.shape == (5, 4)
    assert not p[:, [1, 3]].any()


def test_images_are_brought_down_to_few_pixels():
    assert pooled(noise(2, 3, 64, 48)).shape == (2, 3 * 16 * 16)
    assert torch.equal(pooled(noise(2, 1, 8, 8)), noise(2, 1, 8, 8).flatten(1))


@pytest.mark.parametrize("x", [torch.zeros(20, 7, dtype=torch.int64), torch.zeros(20), torch.zeros(20, 10_001)])
def test_inputs_that_a_linear_model_is_no_reference_for_get_the_constant_alone(x: Tensor):
    assert len(Fixed("classification", x, torch.arange(20) % 2).baselines(0)) == 1


def test_a_task_whose_outputs_are_no_targets_gets_none():
    assert Fixed("regression", noise(20, 7), torch.zeros(20, dtype=torch.long)).baselines(0) == ()

    class Logits(Fixed):
        def predict(self, output: Tensor) -> Tensor:
            return output.sigmoid()

    assert Logits("regression", noise(20, 7), torch.zeros(20)).baselines(0) == ()


def test_every_digit_is_told_from_the_others_by_a_line():
    by_name = fitted(Digits())
    y = Digits().data("test")[1]
    result = {name: scores(p, y, "classification", Digits.metrics)["accuracy"] for name, p in by_name.items()}
    assert list(result) == ["always the commonest class (1)", "logistic regression (scikit-learn)"]
    assert 0.09 < result["always the commonest class (1)"] < 0.12
    assert result["logistic regression (scikit-learn)"] > 0.93


def test_every_task_with_classes_tells_their_shares_and_what_guessing_scores():
    description = Fixed("classification", noise(4, 2), torch.tensor([1, 1, 0, 1])).describe()
    assert description.facts == (
        "shares of classes in training: 1 0.75 (3), 0 0.25 (1)",
        "always saying 1 scores accuracy 0.75 on the validation rows",
    )
    assert description.train_examples == 4
    labels = Fixed("multilabel", noise(4, 2), torch.tensor([[1, 0], [1, 1], [0, 0], [1, 0]])).describe()
    assert labels.facts[1] == "always saying the commonest label scores micro F1 0.75 on the validation rows"
    assert Fixed("regression", noise(4, 2), torch.zeros(4)).describe() == Description(train_examples=4)


def test_data_that_break_the_contract_are_told_by_its_check_alone():
    class Broken(Fixed):
        def data(self, split: Split) -> Data:
            raise ValueError("no data")

    assert Broken("classification", noise(1), noise(1)).describe() == Description()


def test_a_baseline_learns_from_the_splits_that_it_is_told():
    from lab.tasks.digits import Digits

    task = Digits()
    train, valid = (task.data(split)[1] for split in ("train", "valid"))
    always, linear = task.baselines(0)[:2]
    shares = torch.bincount(torch.cat([train, valid]), minlength=10) / (len(train) + len(valid))
    torch.testing.assert_close(predicted(task, always, splits=TRAIN_AND_VALID)[0], shares.double())
    on_train, on_both = (
        float((predicted(task, linear, "valid", splits).argmax(dim=1) == valid).float().mean())
        for splits in (TRAIN_AND_VALID[:1], TRAIN_AND_VALID)
    )
    assert on_train < on_both


def test_many_examples_are_drawn_from_at_random():
    y = (torch.arange(100) >= 50).long()
    task = Fixed("classification", noise(100, 2), y)
    few = replace(constant(task), most_examples=40)
    assert 0.2 < float(predicted(task, few)[0, 1]) < 0.8
    assert torch.equal(predicted(task, few), predicted(task, few))


def test_classes_of_the_parts_of_an_example_have_no_reference():
    parts = torch.zeros(20, 3, dtype=torch.long)
    assert Fixed("classification", noise(20, 7), parts).baselines(0) == ()
