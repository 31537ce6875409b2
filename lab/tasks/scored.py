"""The metric that trials are compared by, as a spec names it: refused where it cannot be. Needs no torch.

n examples, c classes or labels, t values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, nearest
from lab.spec.plan import Direction
from lab.tasks.defined_names import check_file
from lab.tasks.options import METRIC, Options, one_of, option

QUANTILE = "quantile"
"""`quantile:0.9` is the loss whose best constant is that quantile."""
_DEFAULT = {"classification": "accuracy", "multilabel": "micro_f1", "regression": "rmse"}
_OF_KIND: Mapping[str, Mapping[str, Direction]] = {
    "classification": {
        "accuracy": "maximize",
        "balanced_accuracy": "maximize",
        "macro_f1": "maximize",
        "auc": "maximize",
        "log_loss": "minimize",
    },
    "multilabel": {"micro_f1": "maximize", "macro_f1": "maximize", "auc": "maximize", "log_loss": "minimize"},
    "regression": {"rmse": "minimize", "mae": "minimize", "mape": "minimize", "r2": "maximize", QUANTILE: "minimize"},
}
_ALL = dict.fromkeys(name for names in _OF_KIND.values() for name in names)


def file_of(metric: str) -> tuple[Path, str] | None:
    """The file of a metric of one's own and its name there; None for one that comes with the package."""
    file, _, name = metric.rpartition(":")
    return (Path(file), name) if file.endswith(".py") and name.isidentifier() else None


def quantile_of(metric: str) -> float | None:
    """The quantile of `quantile:0.9`; None for anything else.

    Raises:
        SpecError: it is none between 0 and 1.
    """
    name, colon, number = metric.partition(":")
    if name != QUANTILE:
        return None
    try:
        quantile = float(number)
    except ValueError:
        quantile = -1.0
    if not colon or not 0 < quantile < 1:
        raise SpecError("task.metric", f"{metric!r} names no quantile between 0 and 1, such as quantile:0.9")
    return quantile


def shown(names: Mapping[str, Any]) -> str:
    """Names of metrics for people."""
    return ", ".join([*(f"{name}:0.9" if name == QUANTILE else name for name in names), "FILE.py:NAME"])


class Scored(Options, kw_only=True):
    """What a spec says of the metric that trials are compared by."""

    metric: str | None = option(
        f"what trials are compared by: {shown(_ALL)}, as far as the target has it",
        METRIC,
        default=None,
    )
    """A function of one's own takes (output, target) tensors of a whole split, as `lab.Task.metrics` says."""
    direction: Direction | None = option(
        "maximize or minimize; needed for a metric of one's own", one_of("maximize", "minimize"), default=None
    )

    def check(self) -> None:
        super().check()
        if self.metric is None:
            if self.direction is not None:
                raise SpecError("task.direction", "is of a metric of one's own, and task.metric is not given")
            return
        own = file_of(self.metric)
        if own is not None:
            if self.direction is None:
                raise SpecError("task.direction", f"is missing: whether {self.metric} is to maximize or to minimize")
            return
        if quantile_of(self.metric) is None and self.metric not in _ALL:
            raise SpecError(
                "task.metric", f"{self.metric!r} is unknown{nearest(self.metric, _ALL)}; choices: {shown(_ALL)}"
            )
        directions = {names[name] for names in _OF_KIND.values() if (name := self.metric.partition(":")[0]) in names}
        if self.direction is not None and {self.direction} != directions:
            raise SpecError(
                "task.direction", f"{self.direction!r}: {self.metric} is to {directions.pop()}; leave it out"
            )


@dataclass(frozen=True)
class Score:
    """The metric of a task whose data are known."""

    metric: str
    direction: Direction
    file: Path | None = None


def score_of(options: Scored, kind: str) -> Score:
    """The metric that the options name, or that of the kind.

    Raises:
        SpecError: it is not one of this kind of target.
    """
    default, names = _DEFAULT[kind], _OF_KIND[kind]
    if options.metric is None:
        return Score(default, names[default])
    own = file_of(options.metric)
    if own is not None:
        assert options.direction is not None  # checked with the options
        if not own[0].is_file():
            raise SpecError("task.metric", f"the file {own[0]} does not exist")
        return Score(own[1], options.direction, own[0])
    name = options.metric.partition(":")[0]
    if name not in names:
        raise SpecError("task.metric", f"{options.metric!r} is not for a target of {kind}; choices: {shown(names)}")
    return Score(options.metric, names[name])


def measured(options: Scored, kind: str) -> tuple[str, ...]:
    """The names of the metrics of each trial: the one that trials are compared by, and that of the kind.

    Raises:
        SpecError: as `score_of`.
    """
    return tuple(dict.fromkeys((score_of(options, kind).metric, _DEFAULT[kind])))


def check_defined(options: Scored, kind: str, targets: Mapping[str, NDArray[Any]]) -> None:
    """Refuse a metric that the target has not, or that says nothing on some split.

    Args:
        targets: of each split, classes [n], labels of 0 and 1 [n, c] or values [n, t].

    Raises:
        SpecError: with the split and the reason.
    """
    score = score_of(options, kind)
    if score.file is not None:
        check_file(score.file, score.metric, "task.metric")
    for split, y in targets.items():
        reason = None if score.file else _undefined(score.metric, y)
        if reason is not None:
            raise SpecError("task.metric", f"{score.metric!r} is undefined on the {len(y)} {split} examples: {reason}")


def _undefined(metric: str, y: NDArray[Any]) -> str | None:
    if metric == "auc" and y.ndim == 1 and len(np.unique(y)) < 2:
        return "they are of one class only"
    if metric == "auc" and y.ndim == 2 and not ((y.min(axis=0) < 1) & (y.max(axis=0) > 0)).any():
        return "no label is both there and not there"
    if metric == "mape" and (y == 0).any():
        return f"{int((y == 0).sum())} targets are 0"
    if metric == "r2" and (y.max(axis=0) == y.min(axis=0)).any():
        return "a target has one value only"
    return None
