"""Thresholds of labels, fitted on examples that nothing was trained on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lab.tasks.metrics import Decided
from lab.tasks.task import micro_f1
from lab.training.ensemble import scores, to_output
from lab.training.thresholds import fit_thresholds


def drawn(n: int, shares: Tensor, seed: int, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Calibrated probabilities of labels that are there in these shares, and the labels."""
    random = torch.Generator().manual_seed(seed)
    p = (shares.logit() + strength * torch.randn(n, len(shares), generator=random)).sigmoid()
    return p, (torch.rand(n, len(shares), generator=random) < p).float()


def f1(p: Tensor, y: Tensor, thresholds: Tensor) -> float:
    return float(micro_f1(to_output(p, "multilabel") - thresholds.logit(), y))


def test_of_rare_labels_those_are_said_that_are_likelier_than_others():
    shares = torch.full((40,), 0.03)
    valid, test = drawn(100, shares, 0), drawn(2000, shares, 1)
    fitted = fit_thresholds(*valid)
    assert fitted.unique().numel() == 1, "too few to tell labels apart"
    assert fitted[0] < 0.3
    assert f1(*test, fitted) > f1(*test, torch.full((40,), 0.5)) + 0.1


def test_labels_that_differ_get_thresholds_of_their_own():
    random = torch.Generator().manual_seed(0)
    y = (torch.rand(3000, 2, generator=random) < 0.5).float()
    p = torch.stack([0.02 + 0.02 * y[:, 0], 0.8 + 0.15 * y[:, 1]], dim=1)  # each tells, at a level of its own
    fitted = fit_thresholds(p, y)
    assert fitted[0] < 0.05 < 0.75 < fitted[1]
    assert f1(p, y, fitted) > 0.95


def test_a_label_that_is_not_there_keeps_the_common_threshold():
    p, y = drawn(2000, torch.tensor([0.02, 0.6, 0.5]), 0)
    p = torch.cat([p, torch.full((2000, 1), 0.1)], dim=1)
    y = torch.cat([y, torch.zeros(2000, 1)], dim=1)
    fitted = fit_thresholds(p, y)
    common = fit_thresholds(p[:9], y[:9])
    assert common.unique().numel() == 1
    assert torch.isfinite(fitted).all()
    assert 0 < float(fitted[3]) < 1


def test_the_scores_of_other_examples_take_them_and_no_other_metric_does():
    p, y = drawn(500, torch.full((5,), 0.1), 0)
    metrics = {"micro_f1": Decided(micro_f1), "plain": micro_f1}
    thresholds = torch.full((5,), 0.2)
    scored = scores(p, y, "multilabel", metrics, thresholds)
    assert scored["micro_f1"] == pytest.approx(f1(p, y, thresholds))
    at_half = scores(p, y, "multilabel", metrics)
    assert scored["plain"] == at_half["plain"] == at_half["micro_f1"] < scored["micro_f1"]
    assert {k: v for k, v in scored.items() if k != "micro_f1"} == {k: v for k, v in at_half.items() if k != "micro_f1"}
