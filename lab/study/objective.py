"""What a search ranks its trials by where the spec leaves it open: the metric, or the validation loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.errors import SpecError
from lab.spec.plan import OWN_LOOP
from lab.spec.study import StudySpec
from lab.study.limits import check_limits
from lab.tasks.load import load_task

if TYPE_CHECKING:
    from torch import Tensor

    from lab.tasks.task import Task

_ENOUGH = 200
"""Seeds of one setting differ by about half a percent of what there is to win. Where one validation row is worth more,
trials that differ by less tie or are ranked by luck, and the loss, to which every row adds a little, still tells them
apart. The ensemble is chosen by that loss too."""


def settled(spec: StudySpec) -> tuple[StudySpec, str | None]:
    """The spec, its data open, with `search.objective: auto` replaced, and why, for people.

    Raises:
        SpecError: the loss or a range test is asked for, and there is none; or a constraint is of what is not measured.
    """
    from lab.tasks.task import TrialFunction

    check_limits(spec)
    task = load_task(spec.task)
    if isinstance(task, TrialFunction):
        return _without_loss(spec), None
    if spec.search.objective != "auto":
        return spec, None
    rows = rows_that_tell(task)
    few = rows is not None and rows < _ENOUGH
    if spec.until.target_score is not None:
        by, why = "metric", "until.target_score is one of it"
    elif few:
        by, why = "loss", f"{task.metric} hangs on {rows} validation rows, each worth 1/{rows} of it"
    else:
        by, why = "metric", "validation rows suffice for it"
    return _with(spec, by), f"trials are ranked by the {by}: {why}"


def _without_loss(spec: StudySpec) -> StudySpec:
    """The spec of a trial function, which reports its metric and no validation loss of ours."""
    if spec.needs_range_test and spec.task.kind != OWN_LOOP:
        raise SpecError("space.max_lr", "a trial function has no range test; give low and high, and no 'from: bounds'")
    if spec.search.objective == "loss":
        raise SpecError("search.objective", "'loss' is of a lab.Task; a trial function is ranked by what it yields")
    return spec if spec.search.objective == "metric" else _with(spec, "metric")


def as_stored(asked: StudySpec, stored: StudySpec) -> StudySpec:
    """A spec with what a folder has of that which it leaves open: the objective, the concurrency."""
    left_open = [name for name in ("objective", "concurrency") if getattr(asked.search, name) == "auto"]
    return asked.changed(search={name: getattr(stored.search, name) for name in left_open})


def rows_that_tell(task: Task) -> int | None:
    """How many validation rows a metric of steps hangs on: one of them moves it by about one in so many.

    Accuracy hangs on those that the commonest class does not get right already; a mean over classes or labels on the
    rows of the rarest, once for each class; micro F1 on the labels that are there. None: it has no such steps.
    """
    metric, y = task.metric, task.data("valid")[1]
    if task.kind == "regression" or (task.kind == "classification" and y.ndim > 1):
        return None
    if task.kind == "multilabel":
        there = (y > 0.5).sum(dim=0)
        if metric == "micro_f1":
            return int(there.sum())
        return _of_rarest(there.minimum(len(y) - there)) if metric in ("macro_f1", "auc") else None
    counts: Tensor = y.bincount()
    if metric == "accuracy":
        return int(len(y) - counts.max())
    return _of_rarest(counts) if metric in ("balanced_accuracy", "macro_f1", "auc") else None


def _of_rarest(counts: Tensor) -> int:
    there = counts[counts > 0]
    return int(len(there) * there.min()) if len(there) else 0


def _with(spec: StudySpec, objective: Any) -> StudySpec:
    return spec.changed(search={"objective": objective})
