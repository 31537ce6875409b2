"""Targets of several kinds in each example, as one tensor: classes and values beside each other.

So everything between a task's data and its loss knows one tensor of targets and one of outputs only. A target takes one
number of a row of targets: a class's number, or a value. A row of outputs has the logits of each target of classes, and
one number for each value, in the order of the targets.

Members of an ensemble are averaged in log-probabilities and values, so that loss and metrics are the same of a
prediction and of a net's output; `Targets.shares` makes probabilities of them, as an exported model does.

Shapes: n examples, t targets, w outputs, k slots, b examples of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import TaskError
from lab.spec.plan import Direction
from lab.tasks.metrics import metrics_of, pinball_each
from lab.tasks.reading import reads
from lab.tasks.scored import Scored, quantile_of, score_of
from lab.tasks.task import Data, Kind, Metric, Split, Task

SEVERAL = "several"
"""What other programs are told in place of a kind."""


@dataclass(frozen=True)
class Classes:
    """A target that is one of several classes, learned by cross entropy."""

    names: tuple[str, ...]
    metric: str | None = None
    """As a table's option of that name; None: accuracy."""
    kind: ClassVar[str] = "classification"

    def __post_init__(self) -> None:
        are_names = isinstance(self.names, Sequence) and not isinstance(self.names, str)
        if not are_names or not all(isinstance(name, str) for name in self.names):
            raise TaskError(f"Classes.names: {self.names!r} are not the names of classes")
        if len(set(self.names)) < len(self.names):
            raise TaskError(f"Classes.names: {self.names!r} has a name twice")

    @property
    def outputs(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Values:
    """A target that is a number, learned by the squared error in standard deviations, or by the absolute one or the
    quantile loss where the metric is that."""

    std: float = 1.0
    metric: str | None = None
    """As a table's option of that name; None: rmse."""
    kind: ClassVar[str] = "regression"
    outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.std, (int, float)) or not 0 < self.std < float("inf"):
            raise TaskError(f"Values.std: {self.std!r} is not a number above 0")


Part: TypeAlias = "Classes | Values"


@dataclass(frozen=True)
class OneTarget:
    """One target's predictions and true values on n examples."""

    name: str
    """Empty where it is a task's only one."""
    kind: Kind
    names: Sequence[str]
    """What classes, labels or values are called, as far as they have names."""
    prediction: Tensor
    """Probabilities [n, c, ...] of classes, or of labels [n, ...], or values [n, ...]."""
    target: Tensor


def each_target(task: Task, prediction: Tensor, target: Tensor) -> list[OneTarget]:
    """A task's prediction [n, ...] and targets [n, ...], taken apart where there are several of different kinds."""
    several = several_of(task)
    if several is not None:
        return several.apart(prediction, target)
    return [OneTarget("", task.kind, task.class_names, prediction, target)]


def several_of(task: Task) -> Targets | None:
    """A task's targets, where they are of different kinds."""
    targets = getattr(task, "targets", None)
    return targets if isinstance(targets, Targets) else None


@dataclass(frozen=True)
class Targets:
    """Several targets by their names.

    Args:
        weights: how much the loss of each counts beside the others'; 1 where it is not said.
        primary: the target whose metric trials are compared by; None: the first.

    Raises:
        TaskError: there are fewer than two, or one of classes has fewer than two; or another target is named.

    >>> import torch
    >>> rice = Targets({"disease": Classes(("blast", "healthy")), "age": Values(std=10.0)})
    >>> rice.width, rice.metric, list(rice.metrics)
    (3, 'accuracy_disease', ['accuracy_disease', 'rmse_age'])
    >>> y = rice.packed({"disease": torch.tensor([1, 0]), "age": torch.tensor([40.0, 50.0])})
    >>> rice.loss(torch.tensor([[-9.0, 9.0, 50.0], [9.0, -9.0, 50.0]]), y).round(decimals=2)
    tensor([0.5000, 0.0000])
    """

    parts: Mapping[str, Part]
    weights: Mapping[str, float] = field(default_factory=dict)
    primary: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Mapping) or not all(isinstance(name, str) for name in self.parts):
            raise TaskError(f"targets: {self.parts!r} is not a mapping of names to Classes and Values")
        other = [name for name, part in self.parts.items() if not isinstance(part, (Classes, Values))]
        if other:
            raise TaskError(f"target {other[0]!r}: {self.parts[other[0]]!r} is neither Classes nor Values")
        if len(self.parts) < 2:
            raise TaskError(f"targets: {', '.join(self.parts) or 'none'}; several are two at least")
        thin = [name for name, part in self.parts.items() if isinstance(part, Classes) and len(part.names) < 2]
        if thin:
            raise TaskError(f"target {thin[0]!r}: has fewer than two classes")
        for name in (*self.weights, *([] if self.primary is None else [self.primary])):
            if name not in self.parts:
                raise TaskError(f"targets: {name!r} is none of them; there are {', '.join(self.parts)}")

    @property
    def first(self) -> str:
        """The name of the target whose metric trials are compared by."""
        return next(iter(self.parts)) if self.primary is None else self.primary

    @cached_property
    def width(self) -> int:
        """How many outputs a model has, w."""
        return sum(part.outputs for part in self.parts.values())

    @cached_property
    def _slices(self) -> dict[str, slice]:
        ends = np.cumsum([part.outputs for part in self.parts.values()]).tolist()
        return {
            name: slice(end - part.outputs, end) for (name, part), end in zip(self.parts.items(), ends, strict=True)
        }

    def at(self, name: str) -> slice:
        """Where a target's outputs stand among all, w."""
        return self._slices[name]

    def counts(self, primary_weight: float, examples: int) -> NDArray[np.float32]:
        """How much each target counts for each example of a trial's batch, [b, t].

        Args:
            primary_weight: times its weight, for the first target.
        """
        weights = {name: self.weights.get(name, 1.0) for name in self.parts}
        weights[self.first] *= primary_weight
        return np.tile(np.array([*weights.values()], dtype=np.float32), (examples, 1))

    def _each(self) -> list[tuple[int, str, Part, slice]]:
        return [(i, name, part, self._slices[name]) for i, (name, part) in enumerate(self.parts.items())]

    def packed(self, values: Mapping[str, Tensor]) -> Tensor:
        """Targets [n] by name as one tensor float32 [n, t].

        Raises:
            TaskError: one is missing, or too many, or of another length, or no class of its target.
        """
        if set(values) != set(self.parts):
            raise TaskError(f"targets {', '.join(values) or 'none'} were given; they are {', '.join(self.parts)}")
        columns: list[Tensor] = []
        for name, part in self.parts.items():
            column = torch.as_tensor(values[name])
            column = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
            if column.ndim != 1 or (columns and len(column) != len(columns[0])):
                raise TaskError(f"target {name!r}: is of shape {tuple(column.shape)}; all are [n]")
            if isinstance(part, Classes) and len(column):
                low, high = float(column.min()), float(column.max())
                if low < 0 or high >= len(part.names) or not bool((column == column.round()).all()):
                    raise TaskError(f"target {name!r}: holds {low:g} to {high:g}, for {len(part.names)} classes")
            columns.append(column.to(torch.float32))
        return torch.stack(columns, dim=1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The weighted mean [n] of each target's loss, of outputs [n, w] and targets [n, t]; or [n, 2 t], behind which
        the weights stand."""
        count = len(self.parts)
        if target.shape[1] == 2 * count:
            weights = target[:, count:]
        else:
            weights = target.new_tensor([self.weights.get(name, 1.0) for name in self.parts]).expand(len(target), -1)
        if output.shape[1] != self.width:
            raise TaskError(
                f"the model has {output.shape[1]} outputs; the targets {', '.join(self.parts)} take {self.width}"
            )
        losses = torch.stack([self._loss(part, output[:, s], target[:, i]) for i, _, part, s in self._each()], dim=1)
        return (losses * weights).sum(dim=1) / weights.sum(dim=1)

    def _loss(self, part: Part, output: Tensor, target: Tensor) -> Tensor:
        if isinstance(part, Classes):
            return nn.functional.cross_entropy(output, target.long(), reduction="none")
        over = (output[:, 0] - target) / part.std
        quantile = quantile_of(part.metric or "")
        if quantile is not None:
            return pinball_each(over, quantile)
        return over.abs() if part.metric == "mae" else over.pow(2)

    def predict(self, output: Tensor) -> Tensor:
        """Log-probabilities and values [n, w] of outputs [n, w]."""
        parts = [
            output[:, s].log_softmax(dim=1) if isinstance(part, Classes) else output[:, s]
            for _, _, part, s in self._each()
        ]
        return torch.cat(parts, dim=1)

    def shares(self, prediction: Tensor) -> Tensor:
        """Probabilities and values [n, w] of a prediction [n, w], also of a mean of several."""
        return torch.cat(
            [
                prediction[:, s].softmax(dim=1) if isinstance(part, Classes) else prediction[:, s]
                for _, _, part, s in self._each()
            ],
            dim=1,
        )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What the outputs are called."""
        names: list[str] = []
        for name, part in self.parts.items():
            names += [f"{name}_{one}" for one in part.names] if isinstance(part, Classes) else [name]
        return tuple(names)

    @property
    def metric(self) -> str:
        """The name of the metric that trials are compared by."""
        return self._scores[self.first][0]

    @property
    def direction(self) -> Direction:
        """That of `metric`."""
        return self._scores[self.first][1]

    @cached_property
    def _scores(self) -> dict[str, tuple[str, Direction]]:
        of_each = {name: score_of(Scored(metric=part.metric), part.kind) for name, part in self.parts.items()}
        return {name: (f"{score.metric}_{name}", score.direction) for name, score in of_each.items()}

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Each target's metric, by its name and the target's."""
        named: dict[str, Metric] = {}
        for i, name, part, s in self._each():
            score = score_of(Scored(metric=part.metric), part.kind)
            metric = metrics_of(score, score, part.kind)[score.metric]  # type: ignore[arg-type]
            named[f"{score.metric}_{name}"] = partial(self._scored, metric, isinstance(part, Classes), i, s)
        return named

    @staticmethod
    def _scored(metric: Metric, classes: bool, at: int, s: slice, output: Tensor, target: Tensor) -> Tensor:
        own = target[:, at].long() if classes else target[:, at : at + 1]
        return metric(output[:, s], own)

    def readable(self, prediction: Tensor) -> dict[str, Tensor | Sequence[str]]:
        """The class of each target of classes and all probabilities, and the values, by the names of a table's columns;
        no class where a number is not finite."""
        shares = self.shares(prediction)
        table: dict[str, Tensor | Sequence[str]] = {}
        for _, name, part, s in self._each():
            own = shares[:, s]
            if isinstance(part, Classes):
                finite = own.isfinite().all(dim=1).tolist()
                chosen = own.nan_to_num().argmax(dim=1).tolist()
                table[name] = [part.names[i] if sure else "" for i, sure in zip(chosen, finite, strict=True)]
                table |= {f"p_{name}_{one}": own[:, i] for i, one in enumerate(part.names)}
            else:
                table[name] = own[:, 0]
        return table

    def apart(self, prediction: Tensor, target: Tensor) -> list[OneTarget]:
        """A prediction [n, w] and targets [n, t], each target by itself."""
        shares = self.shares(prediction)
        return [
            OneTarget(name, "classification", part.names, shares[:, s], target[:, i].long())
            if isinstance(part, Classes)
            else OneTarget(name, "regression", (), shares[:, s], target[:, i : i + 1])
            for i, name, part, s in self._each()
        ]

    def in_words(self, prediction: Tensor, target: Tensor | None) -> str:
        """A prediction [w], or with a target [t] the target, in words."""
        shares, said = self.shares(prediction[None])[0], []
        for i, name, part, s in self._each():
            own = shares[s]
            if isinstance(part, Classes):
                number = int(own.argmax() if target is None else target[i])
                said.append(f"{name} {part.names[number]} ({float(own[number]):.0%})")
            else:
                said.append(f"{name} {float(own[0] if target is None else target[i]):.4g}")
        return ", ".join(said)


class SeveralTargets(Task):
    """A task of several targets of different kinds: a subclass says what they are, gives `model`, whose outputs are
    [n, `targets.width`], and `data`, whose targets are tensors [n] by name.

    >>> class Rice(SeveralTargets):
    ...     targets = Targets({"disease": Classes(("blast", "healthy")), "age": Values(std=10.0)})
    ...     def model(self, params):
    ...         return nn.Linear(2, self.targets.width)
    ...     def data(self, split):
    ...         seed = {"train": 0, "valid": 1, "test": 2}[split]
    ...         x = torch.randn(60, 2, generator=torch.Generator().manual_seed(seed))
    ...         return x, {"disease": (x[:, 0] > 0).long(), "age": 50 + 10 * x[:, 1]}
    >>> lab.tasks.checks.check_task(Rice(), {})
    """

    kind = "regression"
    targets: Targets

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "data" in vars(cls):
            cls.data = reads(_packing(cls.data))  # type: ignore[assignment, method-assign]

    @property
    def metric(self) -> Any:  # type: ignore[override]
        return self.targets.metric

    @property
    def direction(self) -> Any:  # type: ignore[override]
        return self.targets.direction

    @property
    def metrics(self) -> Any:  # type: ignore[override]
        return self.targets.metrics

    @property
    def class_names(self) -> Any:  # type: ignore[override]
        return self.targets.columns

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.targets.loss(output, target)

    def predict(self, output: Tensor) -> Tensor:
        return self.targets.predict(output)

    def outward(self, prediction: Tensor) -> Tensor:
        return self.targets.shares(prediction)

    def readable(self, prediction: Tensor, target: Tensor | None) -> Mapping[str, Tensor | Sequence[str]]:
        return self.targets.readable(prediction)

    def in_words(self, prediction: Tensor, target: Tensor | None) -> str:
        return self.targets.in_words(prediction, target)


def _packing(data: Any) -> Any:
    def packed(self: SeveralTargets, split: Split) -> Data:
        loaded = data(self, split)
        if not isinstance(loaded, tuple) or len(loaded) != 2:
            return loaded  # a data set, whose rows are read one by one
        x, y = loaded
        if isinstance(y, Mapping):
            return x, self.targets.packed(y)
        if isinstance(y, Tensor) and y.ndim == 2 and y.shape[1] == len(self.targets.parts):
            return x, y  # packed already
        names = ", ".join(self.targets.parts)
        raise TaskError(f"{type(self).__name__}.data('{split}'): its targets are no mapping of {names} to tensors [n]")

    packed.__qualname__ = data.__qualname__
    return packed
