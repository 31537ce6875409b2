"""Models of other kinds beside the net: trained on the same examples, judged on the same splits."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from lab.spec.study import StudySpec
from lab.spec.trial import derive_seed
from lab.stages.ensemble import Baseline, FailedBaseline
from lab.tasks.baselines import fit_baseline, prediction_of
from lab.tasks.beside import within
from lab.tasks.folds import parts_of
from lab.tasks.task import TRAIN_AND_VALID, Task, joined
from lab.tasks.task import Baseline as Untrained
from lab.training.ensemble import scores
from lab.training.thresholds import thresholds_of

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Turn:
    """One of several models, and until when it has time."""

    name: str
    number: int
    of: int
    until: float

    def take(self, make: Callable[[], _T]) -> _T:
        """What `make` gives, on as many cores as this thread would use: a new one would take all, and on a busy machine
        wait a hundred times as long for them."""
        threads = torch.get_num_threads()

        def limited() -> _T:
            with threadpool_limits(limits=threads, user_api="openmp"):
                return make()

        return within(max(self.until - time.monotonic(), 0.0), limited, self._say)

    def _say(self, seconds: float) -> None:
        left_s = max(self.until - time.monotonic(), 0.0)
        _LOG.info(
            "baseline  %d of %d, %s: %.0f s; %.0f s are left", self.number + 1, self.of, self.name, seconds, left_s
        )


@dataclass(frozen=True)
class FittedPart:
    """An estimator that learned from one part of the examples, and what it predicts [n, ...]."""

    fold: int | None
    """The one that was left out; None: it learned from the training split."""
    estimator: Any
    valid: Tensor
    """Predictions for the examples that it is judged by: those left out."""
    test: Tensor


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline that learned from the training examples, or from those without each fold in turn."""

    untrained: Untrained
    fit_s: float
    parts: tuple[FittedPart, ...]
    again: Tensor | None
    """What it predicts for the test split when it is trained on what the net that is handed out is trained on."""


def fit_baselines(spec: StudySpec, task: Task, shape: Sequence[int]) -> list[FittedBaseline | FailedBaseline]:
    """Train the task's models of other kinds.

    One that cannot be trained, or not within `execution.beside_s` for all of them, is left out with its reason: the
    study's own models are all there by then.

    Args:
        shape: that of one example's prediction: (c,), or that of its values.
    """
    baselines = task.baselines(_seed(spec))
    until = time.monotonic() + spec.execution.beside_s
    turns = [_Turn(one.name, i, len(baselines), until) for i, one in enumerate(baselines)]
    return [_fitted(spec, task, one, shape, turn) for one, turn in zip(baselines, turns, strict=True)]


def fit_again(spec: StudySpec, task: Task, name: str) -> Any:
    """The baseline of that name, trained on training and validation examples together.

    Raises:
        StopIteration: the task has none of that name.
    """
    untrained = next(baseline for baseline in task.baselines(_seed(spec)) if baseline.name == name)
    return fit_baseline(task, untrained, _seed(spec), joined(map(task.data, TRAIN_AND_VALID)))


def scored(task: Task, fitted: FittedBaseline | FailedBaseline) -> Baseline | FailedBaseline:
    """A baseline's scores on the test split."""
    if isinstance(fitted, FailedBaseline):
        return fitted
    # What was fitted on validation examples is kept, then they are trained on: as the net that is handed out.
    judges = parts_of(task)
    valid_y = torch.cat([judges[part.fold].valid[1] for part in fitted.parts])
    thresholds = thresholds_of(task, torch.cat([part.valid for part in fitted.parts]), valid_y)
    mean = torch.stack([part.test for part in fitted.parts]).mean(dim=0)
    alone, again = (
        None if p is None else scores(p, task.data("test")[1], task.kind, task.metrics, thresholds)
        for p in (mean, fitted.again)
    )
    assert alone is not None  # as the mean is
    return Baseline(fitted.untrained.name, alone, fitted.fit_s, again)


def _seed(spec: StudySpec) -> int:
    return derive_seed(spec.seed, "baselines")


def _fitted(
    spec: StudySpec, task: Task, untrained: Untrained, shape: Sequence[int], turn: _Turn
) -> FittedBaseline | FailedBaseline:
    begin = time.monotonic()
    test = task.data("test")[0]
    try:
        parts = parts_of(task)
        estimators = {
            fold: turn.take(partial(fit_baseline, task, untrained, _seed(spec), part.train))
            for fold, part in parts.items()
        }
        seconds = time.monotonic() - begin
        fitted = [
            FittedPart(fold, one, *(prediction_of(one, task, x, shape) for x in (parts[fold].valid[0], test)))
            for fold, one in estimators.items()
        ]
    except TimeoutError:
        return FailedBaseline(untrained.name, f"the {spec.execution.beside_s:g} s of execution.beside_s were over")
    except Exception as error:  # of another library, on data that it may not have been made for
        return FailedBaseline(untrained.name, " ".join(f"{type(error).__name__}: {error}".split()))
    again = None
    if spec.final.refit:
        with contextlib.suppress(Exception):  # as above, or the time is over
            estimator = turn.take(lambda: fit_again(spec, task, untrained.name))
            again = prediction_of(estimator, task, test, shape)
    return FittedBaseline(untrained, seconds, tuple(fitted), again)
