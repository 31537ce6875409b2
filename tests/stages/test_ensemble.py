"""The last stage: what is beside the study's own models must not cost them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lab.stages import selection
from lab.stages.ensemble import Baseline, FailedBaseline
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
    assert np.isfinite(fitted.fit_s)
