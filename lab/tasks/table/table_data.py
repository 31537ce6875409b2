"""A table made ready: read, split, learned from its training rows, encoded. Needs no torch, so that it can be shown
before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError, nearest
from lab.tasks.splits import Rows, SplitPlan, groups_of, make_folds, make_split
from lab.tasks.table import anomalies
from lab.tasks.table.columns import (
    Column,
    Date,
    fit_column,
    infer_type,
)
from lab.tasks.table.encoding import Form, Notes, encode
from lab.tasks.table.fitted import Fitted
from lab.tasks.table.frame import need_columns, read_table, words_among
from lab.tasks.table.held import Held
from lab.tasks.table.identifiers import called_identifier, identifies
from lab.tasks.table.lacking import Lacking
from lab.tasks.table.levels import as_text
from lab.tasks.table.options import TYPES, TableOptions
from lab.tasks.table.target import are_labels, fit_target, need_values
from lab.tasks.table.values import read_dates, to_numbers

_WIDE = 200
"""Columns, from which on a table is not looked at in a moment."""
_COMPACT_BYTES = 2**26
"""Bytes of all rows' inputs with all bins, from which on they are held compact. Small ones cost nothing, and a step on
few examples is quicker where nothing has to be made of them first."""
_LOG = logging.getLogger(__name__)


class TableData:
    """The table, its splits and what was learned from it; each made when it is first asked for.

    Raises:
        SpecError: a column that is not there.
        TaskError: a table nobody can train on.
    """

    def __init__(self, options: TableOptions) -> None:
        self.options = options
        self.plan = SplitPlan.parse(options.split)
        self.compact: bool | None = None
        """Whether inputs are compact; None: as it was learned."""
        self._parts: dict[str, Held] = {}
        self._inputs: dict[str, NDArray[np.float32]] = {}
        self._targets: dict[str, NDArray[Any]] = {}
        self.lacking = Lacking(options.targets, options)
        """The rows that have no target."""

    @property
    def tables(self) -> tuple[Held, ...]:
        """All rows that have a target, file by file."""
        return (self.main,) if self._test is None else (self.main, self._test)

    @cached_property
    def main(self) -> Held:
        """The rows of `path` that have a target. The index stays the row of the file."""
        frame = read_table(Path(self.options.path), self.options)
        self._check_names(frame)
        return self._with_target(frame, self.options.path)

    @cached_property
    def _test(self) -> Held | None:
        """The rows of `test_path`, in the types that their own file gives them."""
        options, main = self.options, self.main
        if options.test_path is None:
            return None
        # What is a level in a parquet is none the less one in a CSV beside it.
        words = {name: words_among(main[name], options.missing) for name in main.columns}
        test = read_table(Path(options.test_path), options, words)
        need_columns(test, [*options.targets], f"task.test_path: {options.test_path}")
        with self._named("test"):
            test = self._with_target(test, options.test_path)
        lacking = [name for name in main.columns if name not in test.columns and name not in options.ignore]
        if lacking:
            raise TaskError(f"{options.test_path}: lacks column {lacking[0]!r}{nearest(lacking[0], test.columns)}")
        return test.choose([n for n in main.columns if n in test.columns])

    def _with_target(self, frame: Held, path: str) -> Held:
        """The rows that have a target."""
        kept = self.lacking.left_out(frame, path)
        need_values(kept, self.options.targets)
        return kept

    def _check_names(self, frame: Held) -> None:
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
        main, test = self.main, self._test
        rows_of = make_split(self.plan, len(main), self.classes, self._split_by, with_test=test is None)
        if test is not None:
            rows_of["test"] = np.arange(len(main), len(main) + len(test))
        return rows_of

    @cached_property
    def folds(self) -> NDArray[np.int64] | None:
        """The fold of each training row and, behind them, of each validation row; None where there are none."""
        return make_folds(self.plan, self.rows, self.classes, self._split_by)

    @property
    def groups(self) -> NDArray[Any] | None:
        """The group of each training row and, behind them, of each validation row; None where rows are not grouped."""
        return groups_of(self.plan, self.rows, self._split_by)

    @cached_property
    def classes(self) -> NDArray[Any] | None:
        """Each row's class [n] where one target has classes, or labels of 0 and 1 [n, c] where several have."""
        options = self.options
        if are_labels(self.main, options.targets) and not options.several_types.keys() & set(options.targets):
            return np.stack([to_numbers(self.main.typed(name)) for name in options.targets], axis=1).astype(np.int64)
        if len(options.targets) > 1 or options.target_type == "number":
            return None
        values = self.main.typed(options.targets[0])
        are_classes = options.target_type == "category" or infer_type(values) == "category"
        return np.array(as_text(values)) if are_classes else None

    @cached_property
    def _split_by(self) -> NDArray[Any] | None:
        return None if self.plan.by is None else self._by(self.main.typed(self.plan.by))

    def _by(self, values: pd.Series[Any]) -> NDArray[Any]:
        if values.isna().any():
            raise TaskError(f"task.split.by: column {values.name!r} has missing values")
        if self.plan.kind != "time" or pd.api.types.is_numeric_dtype(values):
            return values.to_numpy()
        learned = fit_column(values.rename(str(values.name)), "date", 0)
        assert isinstance(learned, Date)  # as asked
        return read_dates(values, learned.format).to_numpy()

    def part(self, split: str) -> Held:
        """A split's rows."""
        if split == "test" and self._test is not None:
            return self._test
        if split not in self._parts:
            self._parts[split] = self.main.take(self.rows[split])
        return self._parts[split]

    def forget(self) -> None:
        """Let go of the tables; whoever asks for their rows again has them read again."""
        self._parts.clear()
        self.__dict__.pop("main", None)
        self.__dict__.pop("_test", None)

    @cached_property
    def _learned(self) -> tuple[Fitted, dict[str, str]]:
        options, train = self.options, self.part("train")
        if len(train.columns) >= _WIDE:
            _LOG.info("data      looking at %d columns, %d of them targets", len(train.columns), len(options.targets))
        self._check_targets()
        target = fit_target(train, options.targets, options.target_type, options.several_types)
        columns: list[Column] = []
        left_out: dict[str, str] = dict.fromkeys(options.ignore, "asked to be ignored")
        left_out |= {name: "is a label with one value only" for name in options.targets if name not in target.names}
        if self.plan.kind in ("grouped", "declared") and self.plan.by is not None:
            left_out[self.plan.by] = "says the split"
        for name in train.columns:
            if name in options.targets or name in left_out:
                continue
            kind = options.types.get(name) or infer_type(train.typed(name))
            if name not in options.types and called_identifier(name) and identifies(self.main.typed(name)):
                kind = "identifies the rows"
            if kind in TYPES:
                values = train.typed(name) if kind == "number" else train[name]  # a level is called as it is written
                columns.append(fit_column(values, kind, options.most_bins))  # type: ignore[arg-type]
            else:
                left_out[name] = kind
        still = [c.name for c in columns if isinstance(c, Date) and not c.parts]
        left_out |= dict.fromkeys(still, "holds dates that do not vary")
        columns = [c for c in columns if c.name not in still]
        if not columns:
            raise TaskError(f"{options.path}: has no column to learn from beside {', '.join(options.targets)}")
        self._refuse_leaks(train, [c.name for c in columns], target.names)
        rows = sum(len(table) for table in self.tables)
        wide = Form(tuple(columns))
        return Fitted(wide.columns, target, compact=4 * wide.width * rows >= _COMPACT_BYTES), left_out

    def _check_targets(self) -> None:
        """Refuse classes and labels that other rows have and training rows lack, with what to do about the split."""
        classes, here = self.classes, self.rows["train"]
        if classes is None:
            return
        kind = self.plan.resolved(True)
        advice = "split the rows in another way" if kind in ("time", "declared") else "say another task.split.seed"
        if kind == "random":
            advice += " or split kind 'stratified'"
        for name, values in zip(self.options.targets, classes.reshape(len(classes), -1).T, strict=True):
            for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                if value not in values[here]:
                    raise TaskError(
                        f"target {name!r}: {value} is in none of the {len(here)} training rows and in {count} of all "
                        f"{len(values)}; {advice}"
                    )

    def _refuse_leaks(self, train: Held, features: list[str], targets: tuple[str, ...]) -> None:
        if self.options.allow_leaks:
            return
        for target, leaking in anomalies.leaks(train, features, targets).items():
            if leaking:
                names = ", ".join(repr(name) for name in leaking)
                raise TaskError(
                    f"target {target!r} leaks: {names} {'says' if len(leaking) == 1 else 'together say'} it exactly; "
                    f"add ignore: [{', '.join(leaking)}], or allow_leaks: true if it is meant"
                )

    @property
    def fitted(self) -> Fitted:
        """What was learned from the training rows."""
        return self._learned[0]

    @property
    def left_out(self) -> dict[str, str]:
        """Columns that are not used, and why."""
        return self._learned[1]

    @property
    def form(self) -> Form:
        """How rows lie in the inputs."""
        fitted = self.fitted
        return Form(fitted.columns, fitted.compact if self.compact is None else self.compact)

    def inputs(self, split: str) -> NDArray[np.float32]:
        """A split's features as the task gives them [n, f]; see `Form`."""
        if split not in self._inputs:  # the net, its description and its baselines all ask
            with self._named(split):
                self._inputs[split] = encode(self.form, self.part(split), Notes())
        return self._inputs[split]

    def targets(self, split: str) -> NDArray[Any]:
        """A split's targets; see `Target.values`."""
        if split not in self._targets:
            with self._named(split):
                self._targets[split] = self.fitted.target.values(self.part(split))
        return self._targets[split]

    @contextmanager
    def _named(self, split: str) -> Iterator[None]:
        """What is wrong with rows of a file of their own is said with its name."""
        try:
            yield
        except TaskError as error:
            if split != "test" or self.options.test_path is None:
                raise
            raise TaskError(f"{self.options.test_path}: {error}") from error
