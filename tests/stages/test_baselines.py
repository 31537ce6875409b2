"""What stands beside the study's own models must not cost them, and is trained on the same examples."""

from __future__ import annotations

from typing import Any

import torch

from lab.stages.baselines import score_baselines
from lab.stages.ensemble import Baseline, FailedBaseline
from lab.tasks import task as contract
from lab.tasks.digits import Digits
from tests.small import small_spec


class _Beside(Digits):
    def baselines(self, seed: int) -> tuple[contract.Baseline, ...]:
        def broken(*splits: contract.Split) -> Any:
            raise ValueError("The least populated class\nhas only 1 member")

        def all_knowing(*splits: contract.Split) -> Any:
            return lambda split: torch.eye(10)[self.data(split)[1]]

        def of_one_split() -> Any:
            return lambda split: torch.full((len(self.data(split)[1]), 10), 0.1)

        def memory(*splits: contract.Split) -> Any:
            """Right on as many classes as splits were learned."""
            known = len(splits or ("train",))
            return lambda split: torch.eye(10)[self.data(split)[1].clamp_max(known)]

        kinds = {"boosting": broken, "all knowing": all_knowing, "older": of_one_split, "memory": memory}
        return tuple(contract.Baseline(name, fit) for name, fit in kinds.items())


def test_a_baseline_that_cannot_be_trained_is_left_out_with_its_reason() -> None:
    failed, fitted, older, memory = score_baselines(small_spec(), _Beside())
    assert failed == FailedBaseline("boosting", "ValueError: The least populated class has only 1 member")
    assert isinstance(fitted, Baseline)
    assert fitted.test["accuracy"] == 1
    assert isinstance(older, Baseline)
    assert older.with_valid is None
    assert older.like_handed_out == older.test
    assert isinstance(memory, Baseline)
    assert memory.with_valid is not None
    assert memory.with_valid["accuracy"] > memory.test["accuracy"]
    assert memory.like_handed_out == memory.with_valid


def test_without_a_refit_baselines_know_the_training_split_alone() -> None:
    memory = score_baselines(small_spec(final={"refit": False}), _Beside())[-1]
    assert isinstance(memory, Baseline)
    assert memory.with_valid is None
