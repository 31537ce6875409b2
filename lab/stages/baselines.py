"""Models of other kinds beside the net: trained on the same examples, judged on the same splits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.spec.study import StudySpec
from lab.spec.trial import derive_seed
from lab.stages.ensemble import Baseline, FailedBaseline
from lab.tasks.baselines import fit_baseline, prediction_of
from lab.tasks.task import TRAIN_AND_VALID, Split, Task
from lab.tasks.task import Baseline as Untrained
from lab.training.ensemble import scores
from lab.training.thresholds import thresholds_of


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline that learned from the training examples, and what it predicts [n, ...]."""

    untrained: Untrained
    estimator: Any
    fit_s: float
    valid: Tensor
    test: Tensor


def fit_baselines(spec: StudySpec, task: Task, shape: Sequence[int]) -> list[FittedBaseline | FailedBaseline]:
    """Train the task's models of other kinds.

    One that cannot be trained is left out with its reason: the study's own models are all there by then.

    Args:
        shape: that of one example's prediction: (c,), or that of its values.
    """
    return [_fitted(spec, task, untrained, shape) for untrained in task.baselines(_seed(spec))]


def fit_again(spec: StudySpec, task: Task, name: str) -> Any:
    """The baseline of that name, trained on training and validation examples together.

    Raises:
        StopIteration: the task has none of that name.
    """
    untrained = next(baseline for baseline in task.baselines(_seed(spec)) if baseline.name == name)
    return fit_baseline(task, untrained, _seed(spec), TRAIN_AND_VALID)


def scored(spec: StudySpec, task: Task, fitted: FittedBaseline | FailedBaseline) -> Baseline | FailedBaseline:
    """A baseline's scores on the test split, as it is and when it is trained on what the net that is handed out is
    trained on."""
    if isinstance(fitted, FailedBaseline):
        return fitted
    # What was fitted on validation examples is kept, then they are trained on: as the net that is handed out.
    thresholds = thresholds_of(task, fitted.valid, task.data("valid")[1])
    y = task.data("test")[1]
    alone = scores(fitted.test, y, task.kind, task.metrics, thresholds)
    again = None
    if spec.final.refit:
        try:
            prediction = _predicted(task, fit_again(spec, task, fitted.untrained.name), "test", fitted.test.shape[1:])
            again = scores(prediction, y, task.kind, task.metrics, thresholds)
        except Exception:  # as in `_fitted`
            again = None
    return Baseline(fitted.untrained.name, alone, fitted.fit_s, again)


def _seed(spec: StudySpec) -> int:
    return derive_seed(spec.seed, "baselines")


def _fitted(spec: StudySpec, task: Task, untrained: Untrained, shape: Sequence[int]) -> FittedBaseline | FailedBaseline:
    begin = time.monotonic()
    try:
        estimator = fit_baseline(task, untrained, _seed(spec))
        seconds = time.monotonic() - begin
        valid, test = (_predicted(task, estimator, split, shape) for split in ("valid", "test"))
    except Exception as error:  # of another library, on data that it may not have been made for
        return FailedBaseline(untrained.name, " ".join(f"{type(error).__name__}: {error}".split()))
    return FittedBaseline(untrained, estimator, seconds, valid, test)


def _predicted(task: Task, estimator: Any, split: Split, shape: Sequence[int]) -> Tensor:
    return prediction_of(estimator, task, task.data(split)[0], shape)
