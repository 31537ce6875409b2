"""What is to be predicted: one column of classes or of numbers, or several columns. n rows, t targets, c labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import TaskError
from lab.tasks.description import some
from lab.tasks.table.anomalies import dressed_number
from lab.tasks.table.columns import Category, infer_type
from lab.tasks.table.encoding import Notes, to_codes
from lab.tasks.table.held import Held, Table, typed_column
from lab.tasks.table.levels import as_text, levels_among
from lab.tasks.table.values import is_nested, row_number, to_numbers, typed

_LARGEST = 1e15
"""Targets stay below, so that the squares of errors are numbers of 32 bits."""
_BEYOND = 0.1
"""Predictions may leave the training targets' range by this share of it, and no further."""


@dataclass(frozen=True)
class Target:
    """The target columns and how their values become tensors.

    Classification: `levels` are the classes. Multilabel: `names` are the labels. Regression: mean, standard deviation
    and the range of each target in the training rows.
    """

    names: tuple[str, ...]
    kind: Literal["classification", "multilabel", "regression"]
    levels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    parts: tuple[Target, ...] = ()
    """Where the columns are of several kinds, each as a target of its own; to everything else their kind is regression,
    as it has a loss and metrics of its own."""

    def dump(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "parts"} | (
            {"parts": [part.dump() for part in self.parts]} if self.parts else {}
        )

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Target:
        rest = {key: tuple(v) for key, v in value.items() if key not in ("kind", "parts")}
        return cls(kind=value["kind"], parts=tuple(map(cls.load, value.get("parts", ()))), **rest)

    @property
    def by_kind(self) -> tuple[Target, ...]:
        """The target, or each of several kinds."""
        return self.parts or (self,)

    def lines(self, primary: str | None) -> Iterator[str]:
        """What is predicted, for people; `primary` as the options say it."""
        for part in self.by_kind:
            classes = f" with {len(part.levels)} classes: {some(part.levels)}" if part.levels else ""
            yield f"target {some(part.names, 6)}: {part.kind}{classes}"
        if self.parts:
            yield (
                f"{len(self.parts)} targets of different kinds; trials are compared by the metric of "
                f"{primary or self.names[0]}"
            )

    @property
    def data_names(self) -> dict[str, tuple[str, ...]]:
        """As `Task.data_names`: the columns, and the classes of each."""
        if not self.parts:
            return {"target": self.names, "class": self.levels}
        return {"target": self.names} | {f"class of {part.names[0]}": part.levels for part in self.parts if part.levels}

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that are predicted as numbers."""
        return tuple(name for part in self.by_kind if part.kind == "regression" for name in part.names)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.levels if self.kind == "classification" else self.names

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """What predictions of each target are squashed into."""
        return tuple(
            (low - _BEYOND * (high - low), high + _BEYOND * (high - low))
            for low, high in zip(self.low, self.high, strict=True)
        )

    def values(self, frame: Table) -> NDArray[Any]:
        """Classes int64 [n], labels float32 [n, c], or values float32 [n, t].

        Raises:
            TaskError: missing, or a class that training has not seen.
        """
        need_values(frame, self.names)
        if self.parts:
            own = [part.values(frame).astype(np.float32).reshape(len(frame)) for part in self.parts]
            return np.stack(own, axis=1)
        if self.kind == "classification":
            codes = to_codes(Category(self.names[0], self.levels), frame[self.names[0]], Notes())
            if (codes == 0).any():
                unseen = frame[self.names[0]].iloc[int(np.flatnonzero(codes == 0)[0])]
                raise TaskError(f"target {self.names[0]!r}: class {unseen!r} is not in the training rows")
            return codes - 1
        numbers = np.stack([to_numbers(typed_column(frame, name)) for name in self.names], axis=1)
        if self.kind == "multilabel" and not np.isin(numbers, (0, 1)).all():
            raise TaskError(f"targets {', '.join(self.names[:6])}: hold something else than 0 and 1")
        return numbers.astype(np.float32)

    def values_in(self, frame: Table) -> tuple[NDArray[Any] | None, tuple[str, ...]]:
        """As `values`, of a table that need not hold them: None, and why, where they cannot be scored by."""
        if not set(self.names) <= set(frame.columns):
            return None, ()
        try:
            return self.values(frame), ()
        except TaskError as error:  # what is to be predicted is often there and empty
            return None, (f"is not scored: {error}",)


def fit_target(
    frame: Table, names: tuple[str, ...], asked: str | None, types: Mapping[str, str] | None = None
) -> Target:
    """Learn the target from the training rows; `asked` is `number` or `category`, or None to infer it; `types` says it
    of some columns.

    Constant ones among several labels are left out: `Target.names` lacks them.

    Raises:
        TaskError: constant, missing, or more classes than make sense.
    """
    need_values(frame, names)
    constant = [name for name in names if len(set(as_text(typed_column(frame, name)))) == 1]
    if constant and are_labels(frame, names) and len(names) - len(constant) > 1:
        names = tuple(name for name in names if name not in constant)
    elif constant:
        raise TaskError(
            f"target {constant[0]!r}: is constant ({frame[constant[0]].iloc[0]}); there is nothing to learn"
        )
    said = types or {}
    kinds = {name: asked or said.get(name) or _type(frame[name]) for name in names}
    if are_labels(frame, names) and not said.keys() & set(names):
        return Target(names, "multilabel")
    if set(kinds.values()) == {"number"}:
        columns = np.stack([to_numbers(typed_column(frame, name)) for name in names], axis=1)
        low, high = columns.min(axis=0), columns.max(axis=0)
        of_each = (columns.mean(axis=0), columns.std(axis=0), low, high)
        mean, std, low_, high_ = (tuple(float(v) for v in of_one) for of_one in of_each)
        return Target(names, "regression", (), mean, std, low_, high_)
    if len(names) > 1:
        parts = tuple(fit_target(frame, (name,), "number" if kinds[name] == "number" else "category") for name in names)
        return Target(names, "regression", parts=parts)
    return _classes(frame[names[0]], asked)


def of_training(target: Target, values: NDArray[Any]) -> Target:
    """A target with the mean, standard deviation and range of its values [n, t] in the training rows.

    Raises:
        TaskError: one of them is constant there.
    """
    if target.parts:
        own = [of_training(part, values[:, [i]]) for i, part in enumerate(target.parts)]
        return replace(target, parts=tuple(own))
    if target.kind != "regression":
        return target
    exact = values.astype(np.float64)
    std = exact.std(axis=0)
    if not std.all():
        name = target.names[int(np.flatnonzero(std == 0)[0])]
        raise TaskError(f"target {name!r}: is constant in the training rows; there is nothing to learn")
    mean, low, high = exact.mean(axis=0), exact.min(axis=0), exact.max(axis=0)
    of_each = [tuple(float(v) for v in of_one) for of_one in (mean, std, low, high)]
    return replace(target, mean=of_each[0], std=of_each[1], low=of_each[2], high=of_each[3])


def with_target(frame: Held, names: tuple[str, ...]) -> Held:
    """The rows that hold every target, in the type that they would have been read as without the others."""
    lacking = np.any([frame[name].isna().to_numpy() for name in names], axis=0)
    if not lacking.any() or lacking.all():  # of a column without any value `need_values` says what is wrong
        return frame
    kept = frame.take(np.flatnonzero(~lacking))
    for name in names:
        values = kept[name].infer_objects()
        if pd.api.types.is_float_dtype(values) and ((values % 1 == 0) & (values.abs() < _LARGEST)).all():
            values = values.astype("int64")  # a gap had made floats of whole numbers
        kept = kept.replace(name, values)
    return kept


def need_values(frame: Table, names: tuple[str, ...]) -> None:
    """Refuse rows without a target, and targets that are no plain values.

    Raises:
        TaskError: with the first such row.
    """
    for name in names:
        values = frame[name]
        if is_nested(values):
            raise TaskError(f"target {name!r}: holds lists or mappings; a target is one value in each row")
        wrong = values.isna().to_numpy()
        fault = "none"
        numbers = typed_column(frame, name)
        if pd.api.types.is_float_dtype(numbers) and not wrong.any():
            wrong, fault = (numbers.abs() > _LARGEST).to_numpy(), f"one beyond {_LARGEST:g}"
        if wrong.any():
            rows = f"row {row_number(values, int(np.flatnonzero(wrong)[0]))} has {fault} ({wrong.sum()} rows in all)"
            raise TaskError(f"target {name!r}: {rows}; leave such rows out")


def _type(values: pd.Series[Any]) -> str:
    inferred = infer_type(values)
    if inferred == "numbers the rows":
        return "number"
    return inferred if inferred in ("number", "category") else "category"


def are_labels(frame: Table, names: tuple[str, ...]) -> bool:
    """Whether several columns hold nothing but 0 and 1, or false and true."""
    return len(names) > 1 and all(set(as_text(typed_column(frame, n))) <= {"0", "1", "false", "true"} for n in names)


def _classes(values: pd.Series[Any], asked: str | None) -> Target:
    levels = levels_among(values)
    counts = pd.Series(as_text(typed(values))).value_counts()
    if len(levels) > len(values) // 2:
        dressed = dressed_number(values)
        advice = "for numbers say target_type: number" if dressed is None else f"write {dressed!r} as a plain number"
        if asked is not None:
            advice = "leave rare ones out"
        raise TaskError(
            f"target {values.name!r}: {len(levels)} classes in {len(values)} training rows are more than half "
            f"as many; {advice}"
        )
    if int(counts.min()) < 2:
        raise TaskError(f"target {values.name!r}: class {counts.index[-1]!r} has one example; leave it out")
    return Target((str(values.name),), "classification", levels)
