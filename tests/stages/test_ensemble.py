"""The last stage: what is beside the study's own models must not cost them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lab.report.page import _beaten_by
from lab.stages import selection
from lab.stages.ensemble import Baseline, ChosenEnsemble, Ensembled, FailedBaseline
from lab.tasks import task as contract
from lab.tasks.digits import Digits
from tests.small import small_spec


class _Beside(Digits):
    def baselines(self, seed: int) -> tuple[contract.Baseline, ...]:
        def broken() -> Any:
            raise ValueError("The least populated class\nhas only 1 member")

        def fit() -> Any:
            return lambda split: torch.eye(10)[self.data(split)[1]]

        return contract.Baseline("boosting", broken), contract.Baseline("all knowing", fit)


def test_a_baseline_that_cannot_be_trained_is_left_out_with_its_reason() -> None:
    task = _Beside()
    failed, fitted = selection._baselines(small_spec(), task, task.data("test")[1])
    assert failed == FailedBaseline("boosting", "ValueError: The least populated class has only 1 member")
    assert isinstance(fitted, Baseline)
    assert fitted.test["accuracy"] == 1
    chosen = ChosenEnsemble((), 1.0, True, 0.1, 0.1, 4, {"accuracy": 0.9})
    found = Ensembled("accuracy", "classification", 10, chosen, (), (failed, fitted))
    assert _beaten_by(found, "maximize") == fitted
    assert _beaten_by(replace(found, baselines=(failed,)), "maximize") is None
    assert np.isfinite(fitted.fit_s)
