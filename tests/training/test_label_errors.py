"""Labels that are probably wrong, against known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lab.training.label_errors import FAR, confidently_other, standardised


def test_the_threshold_of_a_class_is_its_own_mean():
    """Two classes are predicted at .9 and .6 on average: .55 for the second of them is no confidence, .65 is."""
    p = torch.tensor([[0.95, 0.05], [0.85, 0.15], [0.45, 0.55], [0.40, 0.60], [0.35, 0.65]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    assert not confidently_other(p, labels).any()
    changed = torch.cat([p, torch.tensor([[0.44, 0.56], [0.30, 0.70]])])
    doubted = confidently_other(changed, torch.cat([labels, torch.tensor([0, 0])]))
    assert doubted.tolist() == [False] * 6 + [True]


def test_of_several_confident_classes_the_most_probable_counts():
    p = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.55, 0.35], [0.2, 0.3, 0.5], [0.05, 0.6, 0.35]])
    assert confidently_other(p, torch.tensor([0, 1, 1, 2, 2])).tolist() == [False, False, False, False, True]


def test_a_class_that_is_given_nowhere_is_confident_nowhere():
    p = torch.tensor([[0.1, 0.1, 0.8], [0.1, 0.2, 0.7]])
    assert confidently_other(p, torch.tensor([0, 1])).tolist() == [False, False]


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_planted_errors_are_found_whatever_the_classes_shares(share: float):
    random = np.random.default_rng(0)
    true = (random.random(4000) < 0.15).astype(np.int64)
    logit = random.normal(np.where(true == 1, 3.0, -3.0), 1.0)
    wrong = random.random(4000) < share
    p = torch.from_numpy(1 / (1 + np.exp(-logit)))
    doubted = confidently_other(torch.stack([1 - p, p], dim=1), torch.from_numpy(np.where(wrong, 1 - true, true)))
    hits = doubted.numpy() & wrong
    assert hits.sum() / doubted.sum() > 0.9
    assert hits.sum() / wrong.sum() > 0.6


def test_wrong_values_do_not_widen_the_measure_that_finds_them():
    random = np.random.default_rng(1)
    residuals = random.normal(3.0, 2.0, (2000, 2))
    residuals[:40, 0] += 100.0
    deviations = standardised(torch.from_numpy(residuals))
    assert (deviations[:40, 0] > FAR).all()
    assert float((deviations[40:].abs() > FAR).double().mean()) < 0.002
    assert float(deviations[40:].std()) == pytest.approx(1.0, rel=0.1)


def test_equal_residuals_deviate_in_nothing_and_one_among_them_does():
    assert standardised(torch.zeros(9, 1)).tolist() == [[0.0]] * 9
    alone = standardised(torch.tensor([0.0] * 20 + [5.0])[:, None])
    assert float(alone[-1]) > FAR
    assert float(alone[:-1].abs().max()) == 0.0
