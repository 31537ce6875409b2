"""Ensembles: known temperatures, known best subsets, known calibration errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_f1_score

from lab.tasks.task import micro_f1
from lab.training.ensemble import (
    fit_temperature,
    greedy,
    negative_log_likelihood,
    scores,
    weighted,
    with_temperature,
)


def _squared(target: Tensor):
    return lambda prediction: float(((prediction - target) ** 2).mean())


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
    found = with_temperature(logits.softmax(1), fit_temperature(logits.softmax(1), target))
    assert found[:, 0].tolist() == pytest.approx([(n + 0.5) / (n + 1)] * n, rel=1e-5)
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
    assert negative_log_likelihood(p, torch.tensor([0, 1])) == pytest.approx(-(math.log(0.5) + math.log(0.9)) / 2)
    assert math.isfinite(negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([1])))


def test_greedy_finds_the_subset_that_is_best():
    """Members 1 and 3 err in opposite directions; together they are exact."""
    target = torch.zeros(4)
    members = torch.tensor([[3.0] * 4, [1.0] * 4, [2.0] * 4, [-1.0] * 4])
    found = greedy(members, _squared(target))
    assert found.counts == (0, 1, 0, 1)
    assert found.weights == (0, 0.5, 0, 0.5)
    assert found.loss == pytest.approx(0, abs=1e-12)
    assert (found.single, found.single_loss) == (1, 1.0)


def test_greedy_takes_a_member_more_than_once_where_that_helps():
    found = greedy(torch.tensor([[1.0], [-2.0]]), _squared(torch.zeros(1)))
    assert found.weights == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert found.loss == pytest.approx(0, abs=1e-12)


def test_greedy_falls_back_to_the_single_best():
    found = greedy(torch.tensor([[5.0], [0.0], [4.0]]), _squared(torch.zeros(1)))
    assert (found.counts, found.single, found.loss) == ((0, 1, 0), 1, 0.0)


def test_one_member_is_an_ensemble_too():
    assert greedy(torch.ones(1, 3), _squared(torch.zeros(3))).counts == (1,)


def test_a_member_that_predicts_nan_is_never_taken():
    found = greedy(torch.tensor([[math.nan], [1.0], [-1.5]]), _squared(torch.zeros(1)))
    assert found.counts[0] == 0
    assert found.single == 1
    assert math.isfinite(found.loss)


def test_the_weighted_mean_keeps_shape_and_dtype():
    members = torch.arange(12, dtype=torch.float64).view(2, 3, 2)
    torch.testing.assert_close(weighted(members, [0.25, 0.75]), 0.25 * members[0] + 0.75 * members[1])


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    """Ten at .8 of which six are right (gap .2), ten at .95 of which all are (gap .05)."""
    p = torch.tensor([[0.8, 0.2]] * 10 + [[0.95, 0.05]] * 10)
    target = torch.tensor([0] * 6 + [1] * 4 + [0] * 10)
    found = scores(p, target, "classification", {"first": lambda output, y: output[0, 0]})
    assert found["calibration_error"] == pytest.approx((0.2 + 0.05) / 2, abs=1e-6)
    assert found["first"] == pytest.approx(math.log(0.8))  # metrics see what a model would have given
    assert found["nll"] == pytest.approx(-(6 * math.log(0.8) + 4 * math.log(0.2) + 10 * math.log(0.95)) / 20, rel=1e-5)


def test_regression_has_its_metrics_alone():
    assert scores(torch.ones(3), torch.zeros(3), "regression", {"mse": _metric}) == {"mse": 1.0}


def _metric(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


def test_greedy_never_does_worse_than_the_single_best():
    rng = np.random.default_rng(0)
    for _ in range(10):
        found = greedy(torch.from_numpy(rng.normal(size=(6, 8))), _squared(torch.zeros(8)), rounds=10)
        assert found.loss <= found.single_loss
        assert sum(found.counts) <= 10


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
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        assert negative_log_likelihood(logits.sigmoid(), target) == pytest.approx(float(expected))
        assert math.isfinite(negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])))

    def test_scores_are_those_of_torchmetrics(self):
        logits, target = self._drawn(500)
        p = logits.sigmoid().float()
        found = scores(p, target.float(), "multilabel", {"micro_f1": micro_f1})
        f1 = multilabel_f1_score(p, target.long(), num_labels=3, average="micro")
        assert found["micro_f1"] == pytest.approx(float(f1))
        by_hand = self._calibration(p.flatten(), target.flatten())
        assert found["calibration_error"] == pytest.approx(by_hand, abs=1e-6)

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
