"""What is told of a table before anything is trained: what was inferred, and what is doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lab.tasks.description import Description
from lab.tasks.splits import thin_classes
from lab.tasks.table import doubts, identifiers
from lab.tasks.table.columns import Category, Date
from lab.tasks.table.frame import words_for_missing
from lab.tasks.table.options import TableOptions
from lab.tasks.table.table_data import TableData
from lab.tasks.table.values import other_format


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `table` come to.

    Raises:
        SpecError: they are none.
        TaskError: the table cannot be trained on.
    """
    return tell(TableData(TableOptions.parse(options)))


def tell(data: TableData) -> Description:
    """What was inferred and what is doubtful, for people.

    Raises:
        TaskError: a row of any split does not fit to what was learned from the training rows.
    """
    for split in data.rows:
        data.encoded(split), data.targets(split)
    return Description(tuple(_facts(data)), tuple(_warnings(data)), len(data.rows["train"]))


def _facts(data: TableData) -> Iterator[str]:
    target, columns = data.fitted.target, data.fitted.columns
    classes = f" with {len(target.levels)} classes: {_some(target.levels)}" if target.levels else ""
    yield f"target {_some(target.names, 6)}: {target.kind}{classes}"
    sizes = ", ".join(f"{len(data.rows[split])} {split}" for split in ("train", "valid", "test"))
    kind = data.plan.resolved(data.classes is not None)
    yield f"rows {sizes} (split: {kind}{' by ' + data.plan.by if data.plan.by else ''})"
    plain = [c.name for c in columns if c.type == "number"]
    if plain:
        yield f"numbers: {_some(plain)}"
    told = [f"{c.name} ({len(c.levels)})" for c in columns if isinstance(c, Category)]
    if told:
        yield f"categories (levels): {_some(told)}"
    for column in columns:
        if isinstance(column, Date):
            parts = ", ".join(p.name.rpartition(".")[2] for p in column.parts)
            yield f"date {column.name}: read as {column.format or 'dates'}; {parts}"
    gaps = data.frame[[c.name for c in columns]].isna().mean()
    lacking = [f"{name} ({share:.2g})" for name, share in (100 * gaps[gaps > 0]).items()]
    if lacking:
        yield f"missing values (% of rows): {_some(lacking)}"
    for name, why in data.left_out.items():
        yield f"left out {name}: {why}"


def _warnings(data: TableData) -> Iterator[str]:
    yield from _untold(data)
    yield from _words(data)
    train = data.part("train")
    taken = {c.name: "is taken for categories" for c in data.fitted.columns if isinstance(c, Category)}
    asked = {*data.options.ignore, *data.options.types}
    for name, what in (dict.fromkeys(data.left_out, "is left out") | taken).items():
        if name not in asked and (counts := doubts.mostly_numbers(train[name])):
            yield (
                f"column {name!r} {what}, though {counts[0]} of its values are numbers and {counts[1]} are not; mend "
                "those if it should be a number"
            )
    yield from _codes(data, train)
    for column in data.fitted.columns:
        if isinstance(column, Date) and (other := other_format(train[column.name], column.format)):
            yield (
                f"date {column.name!r} is read as {column.format}, and all of it could be {other} as well; "
                "year-month-day leaves no doubt"
            )
    for name in (n for n in train.columns if n not in asked):
        if (example := doubts.dressed_number(train[name])) is not None:
            yield f"column {name!r} is text that looks like numbers, such as {example!r}; write it as a plain number"
    others = {split: data.part(split) for split in data.rows if split != "train"}
    found = doubts.duplicates(train, others, [c.name for c in data.fitted.columns])
    for split, count in found.items():
        if count:
            yield (
                f"{count} of {len(data.rows[split])} {split} rows have the features of a training row: duplicates make "
                "scores too good (split kind 'grouped' keeps them together)"
            )
    target = data.fitted.target
    if target.kind != "regression":
        yield from thin_classes({split: data.targets(split) for split in data.rows}, target.class_names)
    yield from _when(data)


def _codes(data: TableData, train: pd.DataFrame) -> Iterator[str]:
    """Numbers to a program that may be names to people: codes with leading zeros, identifiers, indices."""
    options = data.options
    numbers = [c.name for c in data.fitted.columns if c.type == "number" and c.name not in options.types]
    for name in (n for n in train.columns if n not in {*options.ignore, *options.types}):
        target = name in options.targets
        found = identifiers.padded_number(train[name])
        if found is None or (target and options.target_type):
            continue
        count, example = found
        number = name in numbers or (target and data.fitted.target.kind == "regression")
        taken = "numbers" if number else "nothing to learn from" if name in data.left_out else "categories"
        other = "category" if number else "number"
        said = f"target_type: {other}" if target else f"types: {{{name}: {other}}}"
        yield (
            f"column {name!r} is taken for {taken}; {count} of {len(train)} training rows have leading zeros in it, "
            f"such as {example!r}: {'if they are codes' if number else 'if they are amounts all the same'}, say {said}"
        )
    alike = [name for name in numbers if identifiers.identifies(data.main[name])]
    if alike:
        yield (
            f"another whole number in every row is what identifiers hold: {_some(alike)}; if that is so, add ignore: "
            f"[{', '.join(alike)}]"
        )
    for name in (n for n in numbers if n not in alike and identifiers.unnamed(n)):
        yield f"column {name!r} has no name, as an index that was written along; if it is one, add ignore: [{name!r}]"


def _untold(data: TableData) -> Iterator[str]:
    targets = data.options.targets
    for path, (lacking, rows) in data.untold.items():
        words = words_for_missing(Path(path), targets, data.options.missing)
        written = "; ".join(_counts(found) for found in words.values())
        yield (
            f"{lacking} of {rows} rows of {Path(path).name} have no {_some(targets, 6)} and are left out"
            + (f" ({written}; if that is a class of its own, list what is missing in task.missing)" if words else "")
        )


def _words(data: TableData) -> Iterator[str]:
    """Words of categories that may be a level of their own, as NA is for 'no garage' or the country's code."""
    levels = {c.name: c.levels for c in data.fitted.columns if isinstance(c, Category)}
    texts = [name for name in levels if data.frame[name].isna().any()]
    for path in filter(None, (data.options.path, data.options.test_path)):
        for name, found in words_for_missing(Path(path), texts, data.options.missing).items():
            named = {word: count for word, count in found.items() if word != "?" and word not in levels[name]}
            if named:
                yield (
                    f"column {name!r} of {Path(path).name} holds {_counts(named)}, taken for missing values; if that "
                    "is a level of its own, list what is missing in task.missing"
                )


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{word!r} {count} times" for word, count in found.items())


def _when(data: TableData) -> Iterator[str]:
    """Rows of all times on both sides of a split make the future look as easy as the past."""
    dates = [c.name for c in data.fitted.columns if isinstance(c, Date)]
    if dates and data.plan.kind not in ("time", "declared") and data.options.test_path is None:
        yield (
            f"rows are split whatever their {dates[0]!r}; where later rows are to be predicted, say split: "
            f"{{kind: time, by: {dates[0]}}}"
        )


def _some(names: Any, most: int = 20) -> str:
    return ", ".join(list(names)[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
