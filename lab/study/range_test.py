"""A range test by itself: the bounds stage, run in this process and read out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.errors import Interrupted
from lab.range_test import Tried
from lab.record.artefact import to_json
from lab.report.number import number
from lab.spec.in_html import rows_html
from lab.spec.space import FromBounds, Space
from lab.spec.study import StudySpec, parse_spec
from lab.stages import bounds
from lab.stages.bounds import Bounds
from lab.study.study import Study
from lab.tasks.to_spec import spec_value

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lab.tasks.task import Task


@dataclass(frozen=True)
class Suggested:
    """What range tests suggest; see `RangeTest`."""

    max_lr: float
    by_curve: float
    """What the range tests alone suggest, whatever short trainings decided."""
    sure: tuple[float, float] | None
    """Between which rates `by_curve` lies over runs drawn anew; null for a single run."""
    marks: tuple[float, float]
    """The two readings whose geometric mean `by_curve` is."""
    search: tuple[float, float]
    """The range worth searching."""
    tried: Mapping[str, Sequence[float | None]]
    """By rate, the scores of short 1cycle trainings; null where one diverged."""
    weight_decay: float | None
    """The largest of the grid that costs no loss; null where there was no grid."""
    rules: Mapping[str, float]
    """What each classical rule would have said."""


@dataclass(frozen=True)
class RangeTest:
    """What several range tests of a task say together."""

    read: Bounds

    @property
    def artefact(self) -> dict[str, Any]:
        """All of it, with every curve, as the file of the bounds stage has it."""
        return to_json(self.read)

    @property
    def suggestion(self) -> float:
        """The max_lr with which a 1cycle training is expected to do best."""
        return self.read.suggestion

    @property
    def by_curve(self) -> float:
        """What the range tests alone suggest, whatever short trainings decided."""
        return self.read.suggestion if self.read.by_curve is None else self.read.by_curve

    @property
    def tried(self) -> tuple[Tried, ...]:
        """The short 1cycle trainings around that, in rising order of max_lr."""
        return self.read.tried

    @property
    def sure(self) -> tuple[float, float] | None:
        """Between which rates `by_curve` lies over runs drawn anew; None for a single run. See `Agreement.sure`."""
        return self.read.sure

    @property
    def marks(self) -> tuple[float, float]:
        """The two readings whose geometric mean `by_curve` is, the lesser first. See `Agreement.marks`."""
        assert self.read.marks is not None  # of a test of this version
        return self.read.marks

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of max_lr worth searching."""
        return self.read.low, self.read.high

    @property
    def weight_decay(self) -> float | None:
        """The largest weight decay of the grid that costs no loss; None where there was no grid."""
        return self.read.weight_decay

    @property
    def rules(self) -> dict[str, float]:
        """Each classical rule's median over the runs."""
        readings = [run.rules for run in self.read.runs if run.rules]
        return {name: float(np.exp(np.median([np.log(rules[name]) for rules in readings]))) for name in readings[0]}

    @property
    def answer(self) -> Suggested:
        """What it says, without the curves."""
        return Suggested(
            max_lr=self.suggestion,
            by_curve=self.by_curve,
            sure=self.sure,
            marks=self.marks,
            search=self.bounds,
            tried={str(one.lr): one.scores for one in self.tried},
            weight_decay=self.weight_decay,
            rules=self.rules,
        )

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        scores = {f"{one.lr:.3g}": ", ".join(number(score) for score in one.scores) for one in self.tried}
        low, high = self.bounds
        return rows_html(
            {"max_lr": number(self.suggestion, 3), "search": f"{low:.2g} to {high:.2g}", "verdict": self.read.verdict}
            | {f"scores at {rate}": said for rate, said in scores.items()}
        )

    def plot(self) -> Figure:
        """Loss against learning rate, a band over seeds per weight decay, and the marks."""
        from lab.report.plots import range_test_figure

        return range_test_figure(self.read)


def lr_range(
    task: str | Task,
    *,
    seeds: int = 5,
    weight_decays: Sequence[float] = (0.01,),
    dropouts: Sequence[float] | None = None,
    steps: int = 100,
    start: float = 1e-6,
    end: float = 10.0,
    exponential: bool = True,
    stop_at: float = 4.0,
    batch_size: int = 64,
    optimizer: Mapping[str, Any] | None = None,
    space: Space | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    trial_seeds: int = 2,
) -> RangeTest:
    """Run range tests of a task over seeds, weight decays and dropouts, stacked where the model allows it.

    The task's models are built anew for it, and the process's own random states stay as they are.

    Args:
        task: a kind (`"digits"`), `"file.py:Name"`, or a `Task`.
        steps: optimizer steps of one test, from lr `start` to `end`.
        stop_at: a test ends where its smoothed loss exceeds this multiple of its best, or is not finite.
        space: further hyperparameters that the task's model needs; the middle of each is used.
        epochs: of the 1cycle training that the rate is for. Trainings so long, on `trial_seeds` seeds at each of
            a few rates around what the curves say, decide on the suggestion; None: there are none.

    Raises:
        StudyError: the tests say nothing; the message says why.
        TaskError: the task breaks its contract.

    >>> found = lab.lr_range("digits", seeds=2)
    >>> found.bounds[0] < found.suggestion < found.bounds[1]
    True
    """
    value = {
        "name": "lr-range",
        "task": spec_value(task),
        "space": {**(space or {}), "max_lr": FromBounds()},
        "batch_size": batch_size,
        "optimizer": dict(optimizer or {"kind": "adamw"}),
        "bounds": {
            "seeds": seeds,
            "weight_decays": list(weight_decays),
            "dropouts": None if dropouts is None else list(dropouts),
            "steps": steps,
            "start": start,
            "end": end,
            "exponential": exponential,
            "stop_at": stop_at,
            "trial_seeds": 0 if epochs is None else trial_seeds,
        },
        "search": {} if epochs is None else {"epochs": epochs},
    }
    return lr_range_of(parse_spec(value))


def lr_range_of(spec: StudySpec, quiet: bool = True) -> RangeTest:
    """The range test of a study's spec, whatever its `max_lr` is searched in; errors as `lr_range`."""
    asks = spec.model_copy(update={"space": Space({**spec.space, "max_lr": FromBounds()})})
    with tempfile.TemporaryDirectory() as folder:
        study = Study.from_spec(asks, Path(folder) / "study")
        try:
            study.run(engine="local", until=bounds.STAGE.name, quiet=quiet)
        except Interrupted:
            raise Interrupted("stopped; a range test by itself keeps nothing") from None
        return RangeTest(bounds.STAGE.need(study.record))
