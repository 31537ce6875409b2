"""Whether what a search is to keep to, or to trade off, is measured of its trials: asked once the task is there."""

from __future__ import annotations

from collections.abc import Iterable

from lab.errors import SpecError, nearest
from lab.spec.limits import COSTS
from lab.spec.plan import OWN_LOOP
from lab.spec.study import StudySpec
from lab.tasks.load import load_task

_OF_THE_LOOP = ("train_loss", "valid_loss")


def check_limits(spec: StudySpec) -> None:
    """Refuse constraints and objectives of what no trial measures.

    Raises:
        SpecError: with what is measured.
    """
    search = spec.search
    if not (search.constraints or search.objectives) or spec.task.kind == OWN_LOOP:
        return  # a loop may tell of any metric
    from lab.tasks.task import TrialFunction  # here: few studies ask for torch so early

    task = load_task(spec.task)
    names = list(search.constraints or ())
    if isinstance(task, TrialFunction):
        counted = [name for name in names if name in COSTS]
        if counted or search.objectives:
            path = f"constraints.{counted[0]}" if counted else "objectives"
            said = "a trial function has no model to count; yield a metric of it and constrain that"
            raise SpecError(f"search.{path}", said)
        return  # as above
    check_measured(spec, task.metrics)


def check_measured(spec: StudySpec, metrics: Iterable[str]) -> None:
    """Refuse constraints of what is none of these metrics of a task, nor measured of every trial.

    Raises:
        SpecError: with what is measured.
    """
    measured = (*COSTS, *metrics, *_OF_THE_LOOP)
    for name in spec.search.constraints or ():
        if name not in measured:
            said = f"is not measured{nearest(name, measured)}; measured are {', '.join(measured)}"
            raise SpecError(f"search.constraints.{name}", said)
