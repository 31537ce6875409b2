"""What stands beside the study's own models must not cost them, and is trained on the same examples."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier

from lab.stages.baselines import FittedBaseline, fit_baselines, scored
from lab.stages.ensemble import Baseline, FailedBaseline
from lab.tasks import task as contract
from lab.tasks.digits import Digits
from lab.tasks.folds import parts_of
from tests.small import small_spec


class _Broken(BaseEstimator):  # type: ignore[misc]  # it has no types
    def fit(self, x: Any, y: Any) -> Self:
        raise ValueError("The least populated class\nhas only 1 member")


class _Memory(BaseEstimator):  # type: ignore[misc]
    """Knows what it has seen by heart."""

    def fit(self, x: Any, y: Any) -> Self:
        self.classes_ = np.arange(10)
        self.of_ = {row.tobytes(): int(target) for row, target in zip(x, y, strict=True)}
        return self

    def predict_proba(self, x: Any) -> Any:
        return np.eye(10)[[self.of_.get(row.tobytes(), 0) for row in x]]


class _OneSplit(_Memory):
    def fit(self, x: Any, y: Any) -> Self:
        if len(x) > 1200:
            raise MemoryError
        return super().fit(x, y)


class _Beside(Digits):
    """Its test split is its validation split, so that whoever learns from this knows it."""

    def data(self, split: contract.Split) -> contract.Data:
        return super().data("valid" if split == "test" else split)

    def baselines(self, seed: int) -> tuple[contract.Baseline, ...]:
        kinds = {"boosting": _Broken(), "memory": _Memory(), "one split": _OneSplit()}
        return tuple(contract.Baseline(name, estimator) for name, estimator in kinds.items())


def _scored(refit: bool = True) -> list[Baseline | FailedBaseline]:
    spec, task = small_spec(final={"refit": refit}), _Beside()
    return [scored(task, fitted) for fitted in fit_baselines(spec, task, (10,))]


def test_a_baseline_that_cannot_be_trained_is_left_out_with_its_reason() -> None:
    failed, memory, one_split = _scored()
    assert failed == FailedBaseline("boosting", "ValueError: The least populated class has only 1 member")
    assert isinstance(memory, Baseline)
    assert memory.with_valid is not None
    assert memory.test["accuracy"] < 0.2 < memory.with_valid["accuracy"] == 1
    assert memory.like_handed_out == memory.with_valid
    assert isinstance(one_split, Baseline)
    assert one_split.with_valid is None
    assert one_split.like_handed_out == one_split.test == memory.test


def test_without_a_refit_baselines_know_the_training_split_alone() -> None:
    memory = _scored(refit=False)[1]
    assert isinstance(memory, Baseline)
    assert memory.with_valid is None


class _Folded(Digits):
    def fold_of_rows(self) -> Any:
        train, valid = (len(self.data(split)[0]) for split in contract.TRAIN_AND_VALID)
        return np.concatenate([1 + np.arange(train) % 2, np.zeros(valid, dtype=np.int64)])

    def baselines(self, seed: int) -> tuple[contract.Baseline, ...]:
        return (contract.Baseline("memory", _Memory()), contract.Baseline("prior", DummyClassifier(strategy="prior")))


def test_with_folds_a_baseline_is_judged_on_rows_that_it_has_not_learned_from() -> None:
    task = _Folded()
    memory, prior = fit_baselines(small_spec(), task, (10,))
    assert isinstance(memory, FittedBaseline)
    assert isinstance(prior, FittedBaseline)
    parts = parts_of(task)
    assert [part.fold for part in memory.parts] == [0, 1, 2]
    for part in memory.parts:
        y = parts[part.fold].valid[1]
        assert (part.valid.argmax(dim=1) == y).float().mean() < 0.2, "it knows by heart what it has seen, and no more"
        assert part.valid.shape == (len(y), 10)
    of_all = scored(task, prior)
    assert isinstance(of_all, Baseline)
    assert 2.29 < of_all.test["nll"] < 2.31


def test_what_scikit_learn_does_not_hold_stands_beside_and_never_joins() -> None:
    from lab.record.estimators import pack_estimator

    spec, task = small_spec(), _Beside()
    memory = fit_baselines(spec, task, (10,))[1]
    assert isinstance(memory, FittedBaseline)
    assert pack_estimator(memory.parts[0].estimator) is None
    dummy = DummyClassifier(strategy="prior").fit(torch.zeros(4, 1), [0, 1, 1, 1])
    assert pack_estimator(dummy) is not None


class _Endless(_Memory):
    def fit(self, x: Any, y: Any) -> Self:
        while True:
            sum(range(100))


class _Later(_Memory):
    def fit(self, x: Any, y: Any) -> Self:
        return _Endless.fit(self, x, y) if len(x) > 1200 else super().fit(x, y)  # type: ignore[arg-type]


class _Slow(Digits):
    """Its third baseline, and what the second learns of validation examples, never come."""

    def baselines(self, seed: int) -> tuple[contract.Baseline, ...]:
        kinds = {"fast": _Memory(), "later": _Later(), "endless": _Endless(), "after": _Memory()}
        return tuple(contract.Baseline(name, estimator) for name, estimator in kinds.items())


def test_a_baseline_that_takes_too_long_is_left_out_and_so_are_those_after_it() -> None:
    task = _Slow()
    fitted = fit_baselines(small_spec(execution={"beside_s": 2}), task, (10,))
    first, second, *rest = (scored(task, one) for one in fitted)
    assert isinstance(first, Baseline)
    assert first.with_valid is not None
    assert isinstance(second, Baseline)
    assert second.with_valid is None
    reason = "the 2 s of execution.beside_s were over"
    assert rest == [FailedBaseline("endless", reason), FailedBaseline("after", reason)]
