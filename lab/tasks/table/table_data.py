"""A table made ready: read, split, learned from its training rows, encoded. Needs no torch, so that it can be shown
before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError, nearest
from lab.tasks.description import Description
from lab.tasks.splits import Rows, SplitPlan, make_split, thin_classes
from lab.tasks.table import doubts
from lab.tasks.table.columns import (
    TYPES,
    Category,
    Column,
    Date,
    Type,
    dump_column,
    fit_column,
    infer_type,
    load_column,
)
from lab.tasks.table.encoding import Encoded, Notes, encode
from lab.tasks.table.frame import need_columns, read_frame
from lab.tasks.table.target import Target, fit_target, need_values, with_target
from lab.tasks.table.values import as_text, other_format, read_dates


@dataclass(frozen=True)
class Fitted:
    """What was learned from the training rows."""

    columns: tuple[Column, ...]
    target: Target

    def dump(self) -> dict[str, Any]:
        return {"columns": [dump_column(c) for c in self.columns], "target": self.target.dump()}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Fitted:
        """What `dump` gave.

        Raises:
            TaskError: it is something else.
        """
        try:
            return cls(tuple(load_column(c) for c in value["columns"]), Target.load(value["target"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise TaskError(f"what was fitted to the table is damaged ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class TableOptions:
    """What a spec says of a table; see `Table`."""

    path: str
    target: str | list[str]
    test_path: str | None = None
    split: Any = "auto"
    ignore: Sequence[str] = field(default_factory=list)
    types: Mapping[str, Type] = field(default_factory=dict)
    target_type: str | None = None
    bins: int = 16
    allow_leaks: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.ignore, str):
            object.__setattr__(self, "ignore", [self.ignore])  # one column, as `target` may be one
        if not isinstance(self.path, str) or not self.path:
            raise SpecError("task.path", f"{self.path!r} is not a path")
        if self.test_path is not None and not isinstance(self.test_path, str):
            raise SpecError("task.test_path", f"{self.test_path!r} is not a path")
        if not _are_names(self.target if isinstance(self.target, (list, tuple)) else [self.target]) or not self.target:
            raise SpecError("task.target", f"{self.target!r} is neither a column's name nor a list of them")
        if not isinstance(self.ignore, (list, tuple)) or not _are_names(self.ignore):
            raise SpecError("task.ignore", f"{self.ignore!r} is not a list of columns")
        if not isinstance(self.types, Mapping) or not _are_names(list(self.types)):
            raise SpecError("task.types", f"{self.types!r} is not a mapping of columns to {', '.join(TYPES)}")
        if not isinstance(self.allow_leaks, bool):
            raise SpecError("task.allow_leaks", f"{self.allow_leaks!r} is not true or false")
        for name, kind in self.types.items():
            if kind not in TYPES:
                raise SpecError(f"task.types.{name}", f"{kind!r} is unknown; choices: {', '.join(TYPES)}")
        if self.target_type not in (None, "number", "category"):
            raise SpecError("task.target_type", f"{self.target_type!r} is unknown; choices: number, category")
        if isinstance(self.bins, bool) or not isinstance(self.bins, int) or not 0 <= self.bins <= 256:
            raise SpecError("task.bins", f"{self.bins!r} is not a whole number from 0 to 256")

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)


class TableData:
    """The table, its splits and what was learned from it; each made when it is first asked for.

    Raises:
        SpecError: a column that is not there.
        TaskError: a table nobody can train on.
    """

    def __init__(self, options: TableOptions) -> None:
        self.options = options
        self.plan = SplitPlan.parse(options.split)
        self._encoded: dict[str, Encoded] = {}
        self._untold: list[str] = []

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All rows that have a target; those of `test_path` last."""
        options = self.options
        frame = read_frame(Path(options.path))
        self._check_names(frame)
        frame = self._told(frame, options.path)
        self.main_rows = len(frame)
        if options.test_path is None:
            return frame
        test = read_frame(Path(options.test_path))
        need_columns(test, [*options.targets], f"task.test_path: {options.test_path}")
        test = self._told(test, options.test_path)
        lacking = [name for name in frame.columns if name not in test.columns and name not in options.ignore]
        if lacking:
            raise TaskError(f"{options.test_path}: lacks column {lacking[0]!r}{nearest(lacking[0], test.columns)}")
        return pd.concat([frame, test[[n for n in frame.columns if n in test.columns]]], ignore_index=True)

    def _told(self, frame: pd.DataFrame, path: str) -> pd.DataFrame:
        """The rows that have a target; how many have none is said with what is doubtful."""
        targets = self.options.targets
        kept = with_target(frame, targets)
        need_values(kept, targets)
        if len(kept) < len(frame):
            self._untold.append(
                f"{len(frame) - len(kept)} of {len(frame)} rows of {Path(path).name} have no {', '.join(targets[:6])} "
                "and are left out"
            )
        return kept

    def _check_names(self, frame: pd.DataFrame) -> None:
        options = self.options
        need_columns(frame, options.targets, "task.target")
        need_columns(frame, options.ignore, "task.ignore")
        need_columns(frame, options.types, "task.types")
        if self.plan.by is not None:
            need_columns(frame, [self.plan.by], "task.split.by")
            if self.plan.by in options.targets:
                raise SpecError("task.split.by", f"{self.plan.by!r} is the target")
        both = set(options.targets) & set(options.ignore)
        if both:
            raise SpecError("task.ignore", f"{sorted(both)[0]!r} is the target")

    @cached_property
    def rows(self) -> Rows:
        """Row numbers of each split."""
        frame = self.frame
        separate = self.options.test_path is not None
        main = frame.head(self.main_rows)
        classes = self._classes
        by = None if self.plan.by is None else self._by(main[self.plan.by])
        found = make_split(self.plan, len(main), classes, by, with_test=not separate)
        if separate:
            found["test"] = np.arange(len(main), len(frame))
        return found

    @cached_property
    def _classes(self) -> NDArray[Any] | None:
        """Each row's class, where one target has classes."""
        options = self.options
        if len(options.targets) > 1 or options.target_type == "number":
            return None
        values = self.frame.head(self.main_rows)[options.targets[0]]
        found = options.target_type == "category" or infer_type(values) == "category"
        return np.array(as_text(values)) if found else None

    def _by(self, values: pd.Series[Any]) -> NDArray[Any]:
        if values.isna().any():
            raise TaskError(f"task.split.by: column {values.name!r} has missing values")
        if self.plan.kind != "time" or pd.api.types.is_numeric_dtype(values):
            return values.to_numpy()
        learned = fit_column(values.rename(str(values.name)), "date", 0)
        assert isinstance(learned, Date)  # as asked
        return read_dates(values, learned.format).to_numpy()

    def part(self, split: str) -> pd.DataFrame:
        """A split's rows."""
        return self.frame.iloc[self.rows[split]]

    @cached_property
    def _learned(self) -> tuple[Fitted, dict[str, str]]:
        options, train = self.options, self.part("train")
        target = fit_target(train, options.targets, options.target_type)
        columns: list[Column] = []
        left_out: dict[str, str] = dict.fromkeys(options.ignore, "asked to be ignored")
        if self.plan.kind in ("grouped", "declared") and self.plan.by is not None:
            left_out[self.plan.by] = "says the split"
        for name in train.columns:
            if name in options.targets or name in left_out:
                continue
            kind = options.types.get(name) or infer_type(train[name])
            if kind in TYPES:
                columns.append(fit_column(train[name], kind, options.bins))  # type: ignore[arg-type]
            else:
                left_out[name] = kind
        still = [c.name for c in columns if isinstance(c, Date) and not c.parts]
        left_out |= dict.fromkeys(still, "holds dates that do not vary")
        columns = [c for c in columns if c.name not in still]
        if not columns:
            raise TaskError(f"{options.path}: has no column to learn from beside {', '.join(options.targets)}")
        self._refuse_leaks(train, [c.name for c in columns])
        return Fitted(tuple(columns), target), left_out

    def _refuse_leaks(self, train: pd.DataFrame, features: list[str]) -> None:
        if self.options.allow_leaks:
            return
        for target in self.options.targets:
            found = doubts.leaks(train, features, target)
            if found:
                names = ", ".join(repr(name) for name in found)
                raise TaskError(
                    f"target {target!r} leaks: {names} {'says' if len(found) == 1 else 'together say'} it exactly; add "
                    f"ignore: [{', '.join(found)}], or allow_leaks: true if it is meant"
                )

    @property
    def fitted(self) -> Fitted:
        """What was learned from the training rows."""
        return self._learned[0]

    @property
    def left_out(self) -> dict[str, str]:
        """Columns that are not used, and why."""
        return self._learned[1]

    def encoded(self, split: str) -> Encoded:
        """A split's features as arrays."""
        if split not in self._encoded:  # the net, its description and its baselines all ask
            self._encoded[split] = encode(self.fitted.columns, self.part(split), Notes())
        return self._encoded[split]

    def targets(self, split: str) -> NDArray[Any]:
        """A split's targets; see `Target.values`."""
        return self.fitted.target.values(self.part(split))

    def describe(self) -> Description:
        """What was inferred and what is doubtful, for people.

        Raises:
            TaskError: a row of any split does not fit to what was learned from the training rows.
        """
        for split in self.rows:
            self.encoded(split), self.targets(split)
        return Description(self._facts(), self._warnings(), len(self.rows["train"]))

    def _facts(self) -> tuple[str, ...]:
        target = self.fitted.target
        names = ", ".join(target.names[:6]) + (", ..." if len(target.names) > 6 else "")
        classes = f" with {len(target.levels)} classes: {_some(target.levels)}" if target.levels else ""
        lines = [f"target {names}: {target.kind}{classes}"]
        sizes = ", ".join(f"{len(self.rows[split])} {split}" for split in ("train", "valid", "test"))
        kind = self.plan.resolved(self._classes is not None)
        lines.append(f"rows {sizes} (split: {kind}{' by ' + self.plan.by if self.plan.by else ''})")
        plain = [c.name for c in self.fitted.columns if c.type == "number"]
        if plain:
            lines.append(f"numbers: {_some(plain)}")
        told = [f"{c.name} ({len(c.levels)})" for c in self.fitted.columns if isinstance(c, Category)]
        if told:
            lines.append(f"categories (levels): {_some(told)}")
        for column in self.fitted.columns:
            if isinstance(column, Date):
                parts = ", ".join(p.name.rpartition(".")[2] for p in column.parts)
                lines.append(f"date {column.name}: read as {column.format or 'dates'}; {parts}")
        lines += [f"left out {name}: {why}" for name, why in self.left_out.items()]
        return tuple(lines)

    def _warnings(self) -> tuple[str, ...]:
        features = [c.name for c in self.fitted.columns]
        train = self.part("train")
        told = {c.name: doubts.mostly_numbers(train[c.name]) for c in self.fitted.columns if isinstance(c, Category)}
        dirty = tuple(
            f"column {name!r} is taken for categories, though {share:.0%} of its values are numbers; mend the others "
            "if it should be a number"
            for name, share in told.items()
            if share is not None
        )
        unsure = tuple(
            f"date {column.name!r} is read as {column.format}, and all of it could be {other} as well; "
            "year-month-day leaves no doubt"
            for column in self.fitted.columns
            if isinstance(column, Date) and (other := other_format(train[column.name], column.format))
        )
        found = doubts.duplicates(self.frame, features, self.rows)
        twice = tuple(
            f"{count} of {len(self.rows[split])} {split} rows have the features of a training row: duplicates make "
            "scores too good (split kind 'grouped' keeps them together)"
            for split, count in found.items()
            if count
        )
        return (*self._untold, *dirty, *unsure, *twice, *self._thin_classes(), *self._when())

    def _thin_classes(self) -> tuple[str, ...]:
        target = self.fitted.target
        if target.kind != "classification":
            return ()
        return thin_classes({split: self.targets(split) for split in self.rows}, target.levels)

    def _when(self) -> tuple[str, ...]:
        """Rows of all times on both sides of a split make the future look as easy as the past."""
        dates = [c.name for c in self.fitted.columns if isinstance(c, Date)]
        if not dates or self.plan.kind in ("time", "declared") or self.options.test_path is not None:
            return ()
        return (
            f"rows are split whatever their {dates[0]!r}; where later rows are to be predicted, say split: "
            f"{{kind: time, by: {dates[0]}}}",
        )


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `table` come to."""
    known = {f.name for f in fields(TableOptions)}
    given = {name: value for name, value in options.items() if name in known}
    for name in ("path", "target"):
        if name not in given:
            raise SpecError(f"task.{name}", "is missing")
    check_layers(options.get("layers", (1,)))
    return TableData(TableOptions(**given)).describe()


def check_layers(layers: object) -> None:
    """Refuse widths of hidden layers that are none.

    Raises:
        SpecError: with what was given.
    """
    given = layers if isinstance(layers, (list, tuple)) else ()
    if not given or any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in given):
        raise SpecError("task.layers", f"{layers!r} is not a list of widths of at least 1")


def _are_names(values: Sequence[object]) -> bool:
    """Different names."""
    return all(isinstance(name, str) for name in values) and len(set(values)) == len(values)


def _some(names: Any, most: int = 20) -> str:
    return ", ".join(list(names)[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
