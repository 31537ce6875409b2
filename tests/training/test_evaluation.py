"""Validation of all slots together is each one's own, and one that cannot be judged keeps no other from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.spec.trial import Outcome
from lab.tasks.task import Data, Metric, Split, Task, accuracy
from lab.training.batches import Examples
from lab.training.evaluation import evaluate, evaluate_each

N = 40_000
"""More than are evaluated at once."""


def _strict(output: Tensor, target: Tensor) -> Tensor:
    if not output.isfinite().all():
        raise ValueError("Input contains NaN.")
    return accuracy(output, target)


class Line(Task):
    """The output is the input, times what the slot is worth."""

    metrics: Mapping[str, Metric] = MappingProxyType({"accuracy": accuracy, "strict": _strict})

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(N, 2, generator=generator), torch.randint(2, (N,), generator=generator)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        raise NotImplementedError


FACTORS = torch.tensor([1.0, -1.0, float("nan")])[:, None, None]


def _evaluated(active: list[int]) -> Any:
    data = Examples(Line().data("valid"), torch.device("cpu"), resident=True)
    return evaluate(Line(), data, 3, lambda x: x * FACTORS, active)


def test_each_slot_has_the_scores_of_the_whole_split():
    scores, faults = _evaluated([0, 1])
    x, y = Line().data("valid")
    assert not faults
    for slot in (0, 1):
        output = x * FACTORS[slot]
        assert scores[slot]["accuracy"] == scores[slot]["strict"] == float(accuracy(output, y))
        assert scores[slot]["valid_loss"] == float(nn.functional.cross_entropy(output, y, reduction="none").mean())
    assert scores[0]["accuracy"] + scores[1]["accuracy"] == pytest.approx(1)


def test_a_metric_that_refuses_a_slots_outputs_ends_that_slot_alone():
    scores, faults = _evaluated([0, 2])
    assert scores == {0: _evaluated([0])[0][0]}
    assert faults[2].outcome is Outcome.DIVERGED
    assert faults[2].detail == "outputs not finite in validation (ValueError: Input contains NaN.)"
    assert _evaluated([2])[0] == {}


def test_slots_are_judged_by_rows_of_their_own_however_many() -> None:
    data = Examples(Line().data("valid"), torch.device("cpu"), resident=True)
    rows = {0: torch.arange(0, N, 2), 1: torch.arange(1, 9_999, 3), 2: torch.arange(5)}
    scores, faults = evaluate_each(Line(), data, 3, lambda x: x * FACTORS, rows, N // 2)
    assert list(faults) == [2], "it raises, and only it"
    for slot, factor in ((0, 1.0), (1, -1.0)):
        x, y = data.of_each(rows[slot][None], N), data.y[rows[slot]]
        assert scores[slot]["accuracy"] == pytest.approx(float(accuracy(next(x)[0] * factor, y)))
    alone, _ = evaluate_each(Line(), data, 3, lambda x: x * FACTORS, {1: rows[1]}, N // 2)
    assert alone[1] == scores[1]
