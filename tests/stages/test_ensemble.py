"""The last stage: what is beside the study's own models must not cost them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lab.report.page import _beaten_by
from lab.stages import ensemble
from lab.tasks.digits import Digits
from lab.tasks.task import Baseline
from tests.small import small_spec


class _Beside(Digits):
    def baselines(self, seed: int) -> tuple[Baseline, ...]:
        def broken() -> Any:
            raise ValueError("The least populated class\nhas only 1 member")

        def fit() -> Any:
            return lambda split: torch.eye(10)[self.data(split)[1]]

        return Baseline("boosting", broken), Baseline("all knowing", fit)


def test_a_baseline_that_cannot_be_trained_is_left_out_with_its_reason() -> None:
    task = _Beside()
    failed, fitted = ensemble._baselines(small_spec(), task, task.data("test")[1])
    assert failed == {"name": "boosting", "failed": "ValueError: The least populated class has only 1 member"}
    assert fitted["test"]["accuracy"] == 1
    found = {"metric": "accuracy", "chosen": {"test": {"accuracy": 0.9}}, "baselines": [failed, fitted]}
    assert _beaten_by(found, "maximize") == fitted
    assert _beaten_by({**found, "baselines": [failed]}, "maximize") is None
    assert np.isfinite(fitted["fit_s"])
