"""The description of a table before anything is trained: what was inferred, and what is doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from lab.tasks.beside import Beside, doubts
from lab.tasks.classes import facts_of
from lab.tasks.description import Description, some
from lab.tasks.splits import described
from lab.tasks.table.columns import Category, Date
from lab.tasks.table.data_warnings import warnings_of
from lab.tasks.table.drift import Drift, drifts
from lab.tasks.table.measured import kind_and_metrics
from lab.tasks.table.options import TableOptions
from lab.tasks.table.table_data import TableData


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `table` come to.

    Raises:
        SpecError: they are none.
        TaskError: the table cannot be trained on.
    """
    return describe_data(TableData(TableOptions.parse(options)))


def describe_data(data: TableData) -> Description:
    """What was inferred and what is doubtful, for people.

    Raises:
        TaskError: a row of any split does not fit to what was learned from the training rows.
    """
    for split in data.rows:
        data.inputs(split)
    targets = {split: data.targets(split) for split in data.rows}
    kind, metrics = kind_and_metrics(data.fitted.target, data.options, targets)
    folds = None if data.folds is None else int(data.folds.max()) + 1
    compared: list[Drift] = []
    warnings = (*warnings_of(data), *doubts({"splits that differ": partial(_apart, data, compared)}))
    facts = (*_facts(data), *(one.line for one in compared if not one.doubtful))
    return Description(facts, warnings, len(data.rows["train"]), kind, metrics, folds, tuple(map(asdict, compared)))


def _apart(data: TableData, compared: list[Drift]) -> Iterator[str]:
    """A line on each split that differs from the training rows; what was looked at is added to those found."""
    beside, none = Beside(), tuple[Drift, ...]()
    compared += beside.made("whether splits differ", lambda: drifts(data), none)
    yield from (one.line for one in compared if one.doubtful)
    yield from beside.lacks


def _facts(data: TableData) -> Iterator[str]:
    target, columns = data.fitted.target, data.fitted.columns
    yield from target.lines(data.options.primary)
    sizes = ", ".join(f"{len(data.rows[split])} {split}" for split in ("train", "valid", "test"))
    kind = data.plan.resolved(data.classes is not None)
    yield f"rows {sizes} (split: {kind}{' by ' + data.plan.by if data.plan.by else ''})"
    if data.folds is not None:
        yield described(data.folds)
    if target.kind != "regression":
        yield from facts_of(data.targets("train"), data.targets("valid"), target.class_names)
    plain = [c.name for c in columns if c.type == "number"]
    if plain:
        yield f"numbers: {some(plain)}"
    categories = [f"{c.name} ({_levels(c)})" for c in columns if isinstance(c, Category)]
    if categories:
        yield f"categories (levels): {some(categories)}"
    for column in columns:
        if isinstance(column, Date):
            parts = ", ".join(p.name.rpartition(".")[2] for p in column.parts)
            yield f"date {column.name}: read as {column.format or 'dates'}; {parts}"
    gaps = {c.name: _gaps(data, c.name) for c in columns}
    lacking = [f"{name} ({100 * share:.2g})" for name, share in gaps.items() if share > 0]
    if lacking:
        yield f"missing values (% of rows): {some(lacking)}"
    for name, why in data.left_out.items():
        yield f"left out {name}: {why}"


def _levels(column: Category) -> str:
    count = str(len(column.levels))
    return f"{count} of {len(column.levels) + column.rare}, the rare others as one" if column.rare else count


def _gaps(data: TableData, name: str) -> float:
    """The share of all rows without a value in a column; those of a file that lacks it count."""
    lacking = [int(table[name].isna().sum()) if name in table.columns else len(table) for table in data.tables]
    return sum(lacking) / sum(map(len, data.tables))
