"""Models of other kinds beside the net: trained on the same examples, scored on the same test split."""

from __future__ import annotations

import time
from functools import partial

from torch import Tensor

from lab.spec.study import StudySpec
from lab.spec.trial import derive_seed
from lab.stages.ensemble import Baseline, FailedBaseline
from lab.tasks.task import TRAIN_AND_VALID, Task
from lab.tasks.task import Baseline as Model
from lab.training.ensemble import scores
from lab.training.thresholds import thresholds_of


def score_baselines(spec: StudySpec, task: Task) -> tuple[Baseline | FailedBaseline, ...]:
    """Test scores of the task's models of other kinds; see `Baseline`.

    One that cannot be trained is left out with its reason: the study's own models are all there by then.
    """
    return tuple(_scored(spec, task, model) for model in task.baselines(derive_seed(spec.seed, "baselines")))


def _scored(spec: StudySpec, task: Task, model: Model) -> Baseline | FailedBaseline:
    begin = time.monotonic()
    try:
        predict = model.fit()
        seconds = time.monotonic() - begin
        thresholds = thresholds_of(task, partial(predict, "valid"), task.data("valid")[1])
        alone = _test_scores(task, predict("test"), thresholds)
    except Exception as error:  # of another library, on data that it may not have been made for
        return FailedBaseline(model.name, " ".join(f"{type(error).__name__}: {error}".split()))
    if not spec.final.refit:
        return Baseline(model.name, alone, seconds)
    try:
        # As the net that is handed out: what was fitted on validation examples is kept, then they are trained on.
        again = _test_scores(task, model.fit(*TRAIN_AND_VALID)("test"), thresholds)
    except Exception:  # a user's own may know the training split alone
        return Baseline(model.name, alone, seconds)
    return Baseline(model.name, alone, seconds, again)


def _test_scores(task: Task, prediction: Tensor, thresholds: Tensor | None) -> dict[str, float]:
    return scores(prediction, task.data("test")[1], task.kind, task.metrics, thresholds)
