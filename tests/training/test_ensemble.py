"""Ensembles: known temperatures, known best subsets, known calibration errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from torch import Tensor

from lab.tasks.task import micro_f1
from lab.training.ensemble import (
    fit_temperature,
    gated,
    negative_log_likelihood,
    scores,
    weighted,
    with_temperature,
)
from lab.training.examples import uncertainty, wrongness


def _squared(target: Tensor):
    return lambda prediction: (prediction - target) ** 2


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 4.0])
def test_a_known_temperature_is_recovered(temperature: float):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40_000, 5, generator=generator, dtype=torch.float64)
    target = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    overconfident = (logits * temperature).softmax(1)
    assert fit_temperature(overconfident, target) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("n", [10, 100, 1000])
@pytest.mark.parametrize("classes", [2, 5])
def test_without_a_wrong_example_none_is_taken_for_sure(n: int, classes: int):
    """The closed form: as sure as n right and half a wrong one allow, however far apart the logits are."""
    logits = torch.zeros(n, classes, dtype=torch.float64)
    logits[:, 0] = 8.0
    target = torch.zeros(n, dtype=torch.int64)
    p = with_temperature(logits.softmax(1), fit_temperature(logits.softmax(1), target))
    assert p[:, 0].tolist() == pytest.approx([(n + 0.5) / (n + 1)] * n, rel=1e-5)
    several = torch.stack([8 * torch.ones(n), -8 * torch.ones(n)], dim=1).double()
    labels = torch.stack([torch.ones(n), torch.zeros(n)], dim=1)
    sure = with_temperature(several.sigmoid(), fit_temperature(several.sigmoid(), labels, "multilabel"), "multilabel")
    assert sure[:, 0].tolist() == pytest.approx([(n + 0.5) / (n + 1)] * n, rel=1e-5)


def test_a_last_digit_does_not_move_the_temperature():
    """Float32 predictions, and the same with every one moved by its last digit, up or down."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(360, 10, generator=generator)
    target = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    predicted = (2.5 * logits).softmax(1)
    up = torch.rand(360, 10, generator=generator) < 0.5
    moved = torch.nextafter(predicted, up.to(predicted.dtype))
    assert not torch.equal(predicted, moved)
    assert fit_temperature(moved, target) == pytest.approx(fit_temperature(predicted, target), rel=1e-6)


def test_a_temperature_keeps_the_order_and_one_changes_nothing():
    p = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(with_temperature(p, 1.0), p)
    torch.testing.assert_close(with_temperature(p, 2.0), p.sqrt() / p.sqrt().sum())
    assert torch.isfinite(with_temperature(torch.tensor([[1.0, 0.0]]), 0.1)).all()


def test_the_likelihood_is_that_of_the_target():
    p = torch.tensor([[0.5, 0.5], [0.1, 0.9]])
    losses = negative_log_likelihood(p, torch.tensor([0, 1])).tolist()
    assert losses == pytest.approx([-math.log(0.5), -math.log(0.9)])
    assert torch.isfinite(negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))).all()


def _rows(*errors: float, n: int = 20) -> Tensor:
    """Members that are wrong by as much everywhere [m, n]."""
    return torch.tensor(errors, dtype=torch.float64)[:, None].expand(-1, n)


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_an_example_with_parts_is_the_mean_of_them(kind: Any):
    """As if its parts were examples: the same likelihood, temperature and calibration error."""
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(200, 4, 5, generator=random)
    if kind == "classification":
        target, probabilities = torch.randint(0, 4, (200, 5), generator=random), logits.softmax(dim=1)
        alone = probabilities.movedim(1, -1).reshape(-1, 4), target.flatten()
    else:
        target, probabilities = torch.randint(0, 2, (200, 4, 5), generator=random).float(), logits.sigmoid()
        alone = probabilities.reshape(-1, 1), target.reshape(-1, 1)
    of_each = negative_log_likelihood(probabilities, target)
    assert of_each.shape == (200,)
    assert float(of_each.mean()) == pytest.approx(float(negative_log_likelihood(*alone).mean()))
    assert fit_temperature(probabilities, target, kind) == pytest.approx(fit_temperature(*alone, kind), rel=0.02)
    assert scores(probabilities, target, kind, {}) == pytest.approx(scores(*alone, kind, {}), rel=1e-5)
    assert wrongness(probabilities, target, kind).shape == (200,)
    unsure = uncertainty(probabilities, kind)
    assert unsure is not None
    assert unsure.shape == (200,)


def test_a_step_that_helps_everywhere_is_taken():
    """Members 0 and 3 err in opposite directions; together they are exact."""
    choice = gated(_rows(1.0, 3.0, 2.0, -1.0), 1, _squared(torch.zeros(20)))
    assert choice.counts == (1, 0, 0, 1)
    assert choice.weights == (0.5, 0, 0, 0.5)
    assert (choice.loss, choice.start_loss) == (0.0, 1.0)


def test_a_member_is_taken_more_than_once_where_that_helps():
    for errors, count in (((2.0, -1.0), 1), ((1.0, -1.5), 3)):
        choice = gated(_rows(*errors), count, _squared(torch.zeros(20)))
        assert choice.counts == (count, 2)
        assert choice.loss == pytest.approx(0, abs=1e-12)


def test_the_first_stays_where_nothing_is_better():
    choice = gated(_rows(1.0, 1.0, 1.0), 3, _squared(torch.zeros(20)))
    assert choice.counts == (3, 0, 0)
    assert choice.loss == choice.start_loss


def test_a_gain_on_one_example_is_no_gain():
    """One example of twenty gains; its share of the mean is exactly the mean's standard error, or less."""
    members = _rows(1.0, 1.0).clone()
    members[1, 7] = -1.0
    assert gated(members, 1, _squared(torch.zeros(20))).counts == (1, 0)


def test_the_gain_is_that_on_examples_that_did_not_choose():
    """Fifty members of pure noise: the best of them looks better by luck on what chose it, and is not taken."""
    rng = np.random.default_rng(0)
    left = 0
    for _ in range(40):
        members = torch.from_numpy(rng.normal(size=(50, 40)))
        members[0] *= 0.1
        left += sum(gated(members, 3, _squared(torch.zeros(40))).counts[1:])
    assert left == 0


def test_too_few_examples_choose_nothing():
    assert gated(_rows(1.0, -1.0, n=9), 1, _squared(torch.zeros(9))).counts == (1, 0)


def test_one_member_is_an_ensemble_too():
    assert gated(torch.ones(1, 30), 1, _squared(torch.zeros(30))).counts == (1,)


def test_a_member_that_predicts_nan_is_never_taken():
    choice = gated(_rows(1.0, math.nan, -1.5), 1, _squared(torch.zeros(20)))
    assert choice.counts[1] == 0
    assert choice.counts[2] > 0
    assert math.isfinite(choice.loss)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_the_choice_is_never_worse_than_its_start_on_what_chose_it(seed: int, count: int):
    rng = np.random.default_rng(seed)
    members = torch.from_numpy(rng.normal(size=(6, 30)) + rng.normal(size=(6, 1)))
    choice = gated(members, count, _squared(torch.zeros(30)), rounds=8)
    assert choice.loss <= choice.start_loss
    assert choice.counts[0] >= count
    assert sum(choice.counts) < count + 8


def test_a_temperature_tells_unlikely_classes_apart():
    """Logits 0, -40 and -80 become at temperature 10 what logits 0, -4 and -8 are: nothing is clamped on the way."""
    logits = torch.tensor([[0.0, -40.0, -80.0]])
    cooled = with_temperature(logits.double().softmax(1), 10.0)
    torch.testing.assert_close(cooled, (logits.double() / 10).softmax(1))


def test_the_weighted_mean_keeps_shape_and_dtype():
    members = torch.arange(12, dtype=torch.float64).view(2, 3, 2)
    torch.testing.assert_close(weighted(members, [0.25, 0.75]), 0.25 * members[0] + 0.75 * members[1])


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    """Ten at .8 of which six are right (gap .2), ten at .95 of which all are (gap .05)."""
    p = torch.tensor([[0.8, 0.2]] * 10 + [[0.95, 0.05]] * 10)
    target = torch.tensor([0] * 6 + [1] * 4 + [0] * 10)
    scored = scores(p, target, "classification", {"first": lambda output, y: output[0, 0]})
    assert scored["calibration_error"] == pytest.approx((0.2 + 0.05) / 2, abs=1e-6)
    assert scored["first"] == pytest.approx(math.log(0.8))  # metrics see what a model would have given
    assert scored["nll"] == pytest.approx(-(6 * math.log(0.8) + 4 * math.log(0.2) + 10 * math.log(0.95)) / 20, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_calibration_error_is_that_of_torchmetrics(dtype: torch.dtype):
    from torchmetrics.functional import classification  # here: it loads much that no other test needs

    generator = torch.Generator().manual_seed(0)
    p = torch.randn(500, 4, generator=generator, dtype=dtype).mul(2).softmax(dim=1)
    p[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])  # the last bin's end
    target = torch.randint(4, (500,), generator=generator)
    error = scores(p, target, "classification", {})["calibration_error"]
    assert error == pytest.approx(
        float(classification.multiclass_calibration_error(p, target, num_classes=4)), rel=1e-5
    )
    labels = torch.bernoulli(p, generator=generator)
    several = scores(p, labels, "multilabel", {})["calibration_error"]
    assert several == pytest.approx(
        float(classification.binary_calibration_error(p.flatten(), labels.flatten().long())), rel=1e-5
    )


def test_regression_has_its_metrics_alone():
    assert scores(torch.ones(3), torch.zeros(3), "regression", {"mse": _metric}) == {"mse": 1.0}


def _metric(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


class TestSeveralLabels:
    """Labels are probabilities of their own: nothing adds up to one."""

    @staticmethod
    def _drawn(n: int = 20_000) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(n, 3, generator=generator, dtype=torch.float64) * 2
        return logits, torch.bernoulli(logits.sigmoid(), generator=generator)

    @pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
    def test_a_known_temperature_is_recovered(self, temperature: float):
        logits, target = self._drawn()
        assert fit_temperature((logits * temperature).sigmoid(), target, "multilabel") == pytest.approx(
            temperature, rel=0.05
        )

    def test_a_temperature_divides_the_logits(self):
        logits, _ = self._drawn(50)
        torch.testing.assert_close(with_temperature(logits.sigmoid(), 2.5, "multilabel"), (logits / 2.5).sigmoid())
        sure = with_temperature(torch.tensor([[1.0, 0.0]]), 0.1, "multilabel")
        assert torch.isfinite(sure).all()
        assert ((sure >= 0) & (sure <= 1)).all()

    def test_the_likelihood_is_the_binary_cross_entropy(self):
        logits, target = self._drawn(200)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
        torch.testing.assert_close(negative_log_likelihood(logits.sigmoid(), target), expected)
        certain = negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        assert torch.isfinite(certain).all()

    def test_scores_are_those_of_scikit_learn(self):
        logits, target = self._drawn(500)
        p = logits.sigmoid().float()
        scored = scores(p, target.float(), "multilabel", {"micro_f1": micro_f1})
        assert scored["micro_f1"] == pytest.approx(f1_score(target.long(), p > 0.5, average="micro"))
        by_hand = self._calibration(p.flatten(), target.flatten())
        assert scored["calibration_error"] == pytest.approx(by_hand, abs=1e-6)

    @staticmethod
    def _calibration(p: Tensor, target: Tensor) -> float:
        """By hand: over 15 bins of P(label), the share of examples times |share of ones - mean probability|."""
        number = (p * 15).long().clamp(max=14)
        gaps = []
        for i in range(15):
            inside = number == i
            if inside.any():
                gaps.append(inside.float().mean() * (target[inside].float().mean() - p[inside].mean()).abs())
        return float(torch.stack(gaps).sum())


def test_plain_values_have_no_temperature():
    values = torch.tensor([[3.0, -2.0]])
    assert fit_temperature(values, values, "regression") == 1.0
    assert torch.equal(with_temperature(values, 5.0, "regression"), values)
