"""A task that is nobody's but its user's: what is trained, and where, the study does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NoReturn

from lab.errors import SpecError, TaskError
from lab.spec.trial import Trial
from lab.tasks.task import TrialFunction


class OwnLoop(TrialFunction):
    """The task of a study whose trials a loop of one's own asks for, trains, and tells of.

    Its space may have any hyperparameters. Without `max_lr` among them, a trial's schedule has its peak at 1: a factor
    for rates of the loop's own.

    Args:
        metric: what its scores are called.
        direction: whether more of it is better.

    Raises:
        SpecError: no name, or another direction.

    >>> space = lab.Space(depth=lab.Int(1, 8), rate=lab.Float(1e-3, 1.0, log=True))
    >>> study = lab.Study(lab.OwnLoop("error", "minimize"), space, name="trees", trials=3)
    >>> while (trial := study.ask()) is not None:
    ...     study.tell(trial, abs(trial.params["depth"] - 3) + trial.params["rate"])
    >>> len(study.conclude().trials)
    3
    """

    def __init__(self, metric: str = "score", direction: Literal["maximize", "minimize"] = "maximize") -> None:
        if not isinstance(metric, str) or not metric.strip():
            raise SpecError("task.metric", f"{metric!r} is no name")
        if direction not in ("maximize", "minimize"):
            raise SpecError("task.direction", f"{direction!r} is unknown; choices: maximize, minimize")
        super().__init__(_refuse, metric, direction)

    @property
    def options(self) -> Mapping[str, Any]:
        return {"metric": self.metric, "direction": self.direction}


def _refuse(trial: Trial) -> Iterator[NoReturn]:
    raise TaskError("a study of a loop of one's own is trained by that loop: study.ask() and study.tell()")
