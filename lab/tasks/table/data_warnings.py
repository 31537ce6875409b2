"""What is doubtful about a table, in a line each, with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lab.tasks.beside import doubts
from lab.tasks.classes import alike_lines, lopsided, thin_classes
from lab.tasks.description import some
from lab.tasks.table import anomalies, identifiers
from lab.tasks.table.columns import Category, Date
from lab.tasks.table.frame import words_for_missing
from lab.tasks.table.lacking import counted
from lab.tasks.table.table_data import TableData
from lab.tasks.table.values import infinite, other_format, row_number, to_numbers


def warnings_of(data: TableData) -> tuple[str, ...]:
    checks = {
        "rows without a target": _without_target,
        "labels with one value": _constant_labels,
        "columns that add up to a target": _many_columns,
        "words for no value": _words,
        "numbers among text": _mostly_numbers,
        "codes and identifiers": _codes,
        "numbers for no value": _sentinels,
        "days and months exchanged": _dates,
        "text that looks like numbers": _dressed,
        "duplicates": _duplicates,
        "rare classes and targets far out": _targets,
        "rows of all times": _when,
    }
    return doubts({what: partial(check, data) for what, check in checks.items()})


def _asked(data: TableData) -> set[str]:
    """Columns that the spec says what to do about."""
    return {*data.options.ignore, *data.options.types}


def _many_columns(data: TableData) -> Iterator[str]:
    numbers = sum(column.type == "number" for column in data.fitted.columns)
    if numbers > anomalies.MOST_TOGETHER and not data.options.allow_leaks:
        yield (
            f"not looked for, as {numbers} columns of numbers are more than {anomalies.MOST_TOGETHER}: several that "
            "add up to a target"
        )


def _mostly_numbers(data: TableData) -> Iterator[str]:
    train, asked = data.part("train"), _asked(data)
    taken = {c.name: "is taken for categories" for c in data.fitted.columns if isinstance(c, Category)}
    for name, what in (dict.fromkeys(data.left_out, "is left out") | taken).items():
        if name not in asked and (counts := anomalies.mostly_numbers(train.typed(name))):
            yield (
                f"column {name!r} {what}, though {counts[0]} of its values are numbers and {counts[1]} are not; mend "
                "those if it should be a number"
            )


def _dates(data: TableData) -> Iterator[str]:
    train = data.part("train")
    for column in data.fitted.columns:
        if isinstance(column, Date) and (other := other_format(train[column.name], column.format)):
            yield (
                f"date {column.name!r} is read as {column.format}, and all of it could be {other} as well; "
                "year-month-day leaves no doubt"
            )


def _dressed(data: TableData) -> Iterator[str]:
    train, asked = data.part("train"), _asked(data)
    for name in (n for n in train.columns if n not in asked):
        if (example := anomalies.dressed_number(train.typed(name))) is not None:
            advice = "say decimal: ',' or " if re.fullmatch(r"[-+]?\d+,\d+", example) else ""
            yield (
                f"column {name!r} is text that looks like numbers, such as {example!r}; {advice}write it as a plain "
                "number"
            )


def _duplicates(data: TableData) -> Iterator[str]:
    others = {split: data.part(split) for split in data.rows if split != "train"}
    copies = anomalies.duplicates(data.part("train"), others, [c.name for c in data.fitted.columns])
    for split, count in copies.items():
        if count:
            yield (
                f"{count} of {len(data.rows[split])} {split} rows have the features of a training row: duplicates make "
                "scores too good (split kind 'grouped' keeps them together)"
            )


def _targets(data: TableData) -> Iterator[str]:
    target, targets = data.fitted.target, {split: data.targets(split) for split in data.rows}
    if target.kind == "classification":
        yield from alike_lines("classes", target.levels)
        if line := lopsided(targets["train"], targets["valid"], target.levels):
            yield line
    for column in data.fitted.columns:
        if isinstance(column, Category):
            yield from alike_lines(f"levels of column {column.name!r}", column.levels)
    if target.kind != "regression":
        yield from thin_classes(targets, target.class_names)
    for i, part in enumerate(target.parts):
        if part.kind == "classification":
            yield from alike_lines(f"classes of {part.names[0]}", part.levels)
            yield from thin_classes({split: y[:, i].astype(np.int64) for split, y in targets.items()}, part.levels)
    for name in target.numbers:
        of_rows = data.main.typed(name)
        values = to_numbers(of_rows)
        far = anomalies.far_out(values)
        if len(far):
            rows = [str(row_number(of_rows, int(i))) for i in far]
            yield (
                f"target {name!r}: {len(far)} of {len(values)} rows lie more than {anomalies.FAR:,} times farther from "
                f"the median {np.median(values):.4g} than is usual, up to {values[far[0]]:.4g}: rows {some(rows, 8)}; "
                "they outweigh all others"
            )


def _sentinels(data: TableData) -> Iterator[str]:
    """Numbers that stand for no value, or may."""
    numbers, rows = [c.name for c in data.fitted.columns if c.type == "number"], sum(map(len, data.tables))
    parts = [data.part(split) for split in data.rows]
    train = data.part("train")
    for name in numbers:
        if count := sum(infinite(part.typed(name)) for part in parts):
            yield f"column {name!r} holds infinite numbers in {count} of {rows} rows; they count as missing"
    numbers += data.fitted.target.numbers
    for name in numbers:
        for far in anomalies.sentinels(to_numbers(train.typed(name))):
            yield (
                f"column {name!r} holds {far.value:g} in {far.count} of {len(train)} training rows, far from all "
                f"others ({far.low:.4g} to {far.high:.4g}); if it stands for no value, list it in task.missing "
                "beside the words that are there by default"
            )


def _codes(data: TableData) -> Iterator[str]:
    """Numbers to a program that may be names to people: codes with leading zeros, identifiers, indices."""
    options, train = data.options, data.part("train")
    numbers = [c.name for c in data.fitted.columns if c.type == "number" and c.name not in options.types]
    for name in (n for n in train.columns if n not in _asked(data)):
        target = name in options.targets
        padded = identifiers.padded_number(train[name])
        if padded is None or (target and options.target_type):
            continue
        count, example = padded
        number = name in numbers or name in data.fitted.target.numbers
        taken = "numbers" if number else "nothing to learn from" if name in data.left_out else "categories"
        other = "category" if number else "number"
        said = f"target_type: {other}" if target else f"types: {{{name}: {other}}}"
        yield (
            f"column {name!r} is taken for {taken}; {count} of {len(train)} training rows have leading zeros in it, "
            f"such as {example!r}: {'if they are codes' if number else 'if they are amounts all the same'}, say {said}"
        )
    alike = [name for name in numbers if identifiers.identifies(data.main.typed(name))]
    if alike:
        yield (
            f"another whole number in every row is what identifiers hold: {some(alike)}; if that is so, add ignore: "
            f"[{', '.join(alike)}]"
        )
    for name in (n for n in numbers if n not in alike and identifiers.unnamed(n)):
        yield f"column {name!r} has no name, as an index that was written along; if it is one, add ignore: [{name!r}]"


def _without_target(data: TableData) -> Iterator[str]:
    return data.lacking.lines()


def _constant_labels(data: TableData) -> Iterator[str]:
    lost = {name: data.main[name].iloc[0] for name in data.options.targets if name not in data.fitted.target.names}
    if lost:
        values = some([f"{name!r} ({value})" for name, value in lost.items()], 6)
        yield f"labels with one value only are left out, and never predicted: {values}"


def _words(data: TableData) -> Iterator[str]:
    """Words of categories that may be a level of their own, as NA is for 'no garage' or the country's code."""
    levels = {c.name: c.levels for c in data.fitted.columns if isinstance(c, Category)}
    texts = [name for name in levels if any(table[name].isna().any() for table in data.tables if name in table.columns)]
    for path in filter(None, (data.options.path, data.options.test_path)):
        for name, counts in words_for_missing(Path(path), texts, data.options).items():
            named = {word: count for word, count in counts.items() if word != "?" and word not in levels[name]}
            if named:
                yield (
                    f"column {name!r} of {Path(path).name} holds {counted(named)}, taken for missing values; if that "
                    "is a level of its own, list what is missing in task.missing"
                )


def _when(data: TableData) -> Iterator[str]:
    """Rows of all times on both sides of a split make the future look as easy as the past."""
    dates = [c.name for c in data.fitted.columns if isinstance(c, Date)]
    if dates and data.plan.kind not in ("time", "declared") and data.options.test_path is None:
        yield (
            f"rows are split whatever their {dates[0]!r}; where later rows are to be predicted, say split: "
            f"{{kind: time, by: {dates[0]}}}"
        )
