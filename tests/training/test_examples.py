"""Which examples are most wrong and least sure: closed forms, and limits that stay numbers."""

from __future__ import annotations

import math

import pytest
import torch

from lab.training.examples import uncertainty, wrongness


def test_classes_are_as_wrong_as_their_log_likelihood_and_as_unsure_as_their_entropy():
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]])
    wrong = wrongness(p, torch.tensor([0, 1, 0]), "classification")
    assert wrong.tolist() == pytest.approx([math.log(2), -math.log(0.1), 0.0])
    unsure = uncertainty(p, "classification")
    assert unsure is not None
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert unsure.tolist() == pytest.approx([math.log(2), entropy, 0.0], abs=1e-5)


def test_labels_are_so_on_average():
    p = torch.tensor([[0.5, 0.5], [0.9, 0.2]])
    wrong = wrongness(p, torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "multilabel")
    assert wrong.tolist() == pytest.approx([math.log(2), -(math.log(0.1) + math.log(0.8)) / 2])
    unsure = uncertainty(p, "multilabel")
    assert unsure is not None

    def entropy(q: float) -> float:
        return -(q * math.log(q) + (1 - q) * math.log(1 - q))

    assert unsure.tolist() == pytest.approx([math.log(2), (entropy(0.9) + entropy(0.2)) / 2])


def test_values_are_as_wrong_as_their_distance_and_carry_no_doubt():
    wrong = wrongness(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 0.0]]), "regression")
    assert wrong.tolist() == [1.5, 0.0]
    assert wrongness(torch.tensor([1.0]), torch.tensor([3.0]), "regression").tolist() == [2.0]
    assert uncertainty(torch.ones(3), "regression") is None


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_certainty_that_is_wrong_stays_a_number(kind: str):
    p = torch.tensor([[0.0, 1.0]])
    target = torch.tensor([0]) if kind == "classification" else torch.tensor([[1.0, 0.0]])
    assert torch.isfinite(wrongness(p, target, kind)).all()  # type: ignore[arg-type]
    unsure = uncertainty(p, kind)  # type: ignore[arg-type]
    assert unsure is not None
    assert torch.isfinite(unsure).all()
