"""How healthy a net's layers are while it is trained: of any task, or of a study's confirmed setup."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError
from lab.record.folder import Record
from lab.schedules import Schedule
from lab.spec.in_html import rows_html
from lab.spec.space import Value
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome
from lab.study.epochs_shown import EpochsShown
from lab.study.fit import asked_of

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from lab.spec.plan import Training
    from lab.spec.trial import Trial
    from lab.tasks.task import Task
    from lab.training.activations import Activations

_DEAD, _LARGE, _SMALL = 0.9, 1e3, 1e-4
"""A share next to nothing, and sizes, from which on a layer is not healthy."""
_LAST = 0.1
"""The share of a training whose steps say how a layer ended."""
DEAD, EXPLODES, VANISHES = "dead", "explodes", "vanishes"
_SAID = {
    DEAD: f"more than {_DEAD:.0%} of what it gives is next to nothing",
    EXPLODES: f"its numbers are beyond {_LARGE:g}, or none",
    VANISHES: f"all that it gives differs by less than {_SMALL:g}",
}


@dataclass(frozen=True, repr=False, eq=False)
class ActivationHealth:
    """What each layer gave over one training."""

    layers: pd.DataFrame
    """A row for each layer, in the order of their calls: its `layer` and `kind`; `mean`, `std` and `near_zero`
    (the share below 0.05 of the root mean square) at the first step and, as `..._end`, over the last tenth; and in
    `health` what is wrong with it at the end: `dead`, `explodes`, `vanishes`, or nothing."""
    history: pd.DataFrame = field(repr=False)
    """The same numbers by `layer` and `step`, for 400 steps at most."""
    outcome: Outcome
    """How the training ended: one that diverges is looked at as far as it came."""
    detail: str
    epochs: int

    @property
    def line(self) -> str:
        """The same in a sentence or two."""
        said = [
            f"{kind}: {', '.join(names)} ({_SAID[kind]})"
            for kind in (DEAD, EXPLODES, VANISHES)
            if (names := self.layers.loc[self.layers["health"] == kind, "layer"].tolist())
        ]
        health = "; ".join(said) or f"none of {len(self.layers)} layers is dead, explodes or vanishes"
        if self.outcome is Outcome.COMPLETED:
            return health
        return f"{health}; the training {self.outcome}: {self.detail.strip().splitlines()[-1] if self.detail else ''}"

    def plot(self) -> Figure:
        """Mean, standard deviation and share next to nothing of each layer over the steps."""
        from lab.report.activation_plot import activation_figure

        return activation_figure(self.history)

    def __repr__(self) -> str:
        return f"{self.layers.to_string(index=False, float_format=lambda value: f'{value:.3g}')}\n{self.line}"

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        table = self.layers.to_html(index=False, border=0, float_format=lambda value: f"{value:.3g}")
        return rows_html({"health": self.line, "trained": f"{self.epochs} epochs"}) + table


def activation_health(
    task: str | Mapping[str, Any] | Task,
    max_lr: float | None = None,
    *,
    epochs: int,
    schedule: Schedule | Mapping[str, Any] | None = None,
    batch_size: int = 64,
    optimizer: str | Mapping[str, Any] = "adamw",
    seed: int = 0,
    execution: Mapping[str, Any] | None = None,
    quiet: bool = True,
    **params: Value,
) -> ActivationHealth:
    """Train one model as `lab.fit_one_cycle` does, to the last bit, and look at what its layers give meanwhile.

    Layers are modules without parts or with parameters of their own; what is computed without a module (`torch.relu`)
    is not seen.

    Args:
        task, max_lr, epochs, schedule, batch_size, optimizer, seed, execution, quiet, params: see `lab.fit_one_cycle`.

    Raises:
        SpecError: something cannot be; also a path on which models are computed together.
        TaskError: the task breaks its contract.
        StudyError: the range tests say nothing. A training that diverges is none of these: it is looked at.

    >>> health = lab.activation_health("digits", max_lr=0.01, epochs=1)
    >>> health.layers["layer"].tolist()[:3], health.line
    (['0', '1', '2'], 'none of 7 layers is dead, explodes or vanishes')
    """
    asked = asked_of(task, max_lr, params, epochs, schedule, batch_size, optimizer, seed, execution, quiet)
    return watched(asked.task, asked.trial, asked.training, asked.shown)


def of_study(spec: StudySpec, record: Record, epochs: int | None = None, quiet: bool = True) -> ActivationHealth:
    """That of the setup which a study has confirmed.

    Args:
        epochs: of its 1cycle; None: those of the search.

    Raises:
        RecordError: stage `confirm` has not run, or another user has begun the study.
        SpecError: no number of epochs.
        StudyError: a trial function, which trains by itself.
    """
    from lab.study.refitting import confirmed_of

    count = spec.search.epochs if epochs is None else epochs
    task, trial, training = confirmed_of(spec, record, "activations", count)
    return watched(task, trial, training, EpochsShown(count, quiet))


def watched(task: Task, trial: Trial, training: Training, shown: EpochsShown) -> ActivationHealth:
    """Train a trial that has its schedule, and look at what its layers give."""
    from lab.training.activations import ActivationRecorder
    from lab.training.alone import train_alone
    from lab.training.trainer import steps_per_epoch

    if training.path != "sequential":
        raise SpecError(
            "execution.path", f"{training.path!r} computes models together; layers are seen on 'sequential'"
        )
    parts = 1 if training.micro_batch is None else math.ceil(training.batch_size / training.micro_batch)
    recorder = ActivationRecorder(trial.epochs * steps_per_epoch(len(task.data("train")[0]), training), parts)
    ended = train_alone(task, training, trial, lambda result: shown.add(_row(result.metrics, shown)), recorder.attach)
    layers, history = _tables(recorder.recorded)
    return ActivationHealth(layers, history, ended.outcome, ended.detail, trial.epochs)


def _row(metrics: Mapping[str, float], shown: EpochsShown) -> dict[str, float]:
    return {"epoch": len(shown.rows) + 1, **metrics}


def _tables(recorded: Activations) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for each layer, and one for each layer and step."""
    import numpy as np
    import pandas as pd

    names = [layer.name for layer in recorded.layers]
    numbers = {"mean": recorded.mean, "std": recorded.std, "near_zero": recorded.near_zero}
    arrays = {name: tensor.double().numpy() for name, tensor in numbers.items()}
    steps = len(recorded.steps)
    history = pd.DataFrame({"step": np.repeat(recorded.steps, len(names)), "layer": np.tile(np.array(names), steps)})
    history = history.assign(**{name: array.reshape(-1) for name, array in arrays.items()})
    last = max(1, round(_LAST * steps))
    table = pd.DataFrame({"layer": names, "kind": [layer.kind for layer in recorded.layers]})
    for name, array in arrays.items():
        first = [next(iter(column[~np.isnan(column)]), np.nan) for column in array.T]
        table[name], table[f"{name}_end"] = first, [_mean(column[-last:]) for column in array.T]
    ends = zip(table["mean_end"], table["std_end"], table["near_zero_end"], strict=True)
    return table.assign(health=[_health(*end) for end in ends]), history


def _mean(values: Any) -> float:
    """The mean of what is there; no number where a step gave none."""
    return float(values.mean()) if len(values) else math.nan


def _health(mean: float, std: float, near_zero: float) -> str:
    if not math.isfinite(mean + std) or max(abs(mean), std) > _LARGE:
        return EXPLODES
    if near_zero > _DEAD:
        return DEAD
    return VANISHES if std < _SMALL else ""
