"""Images as the rows of a table: a column of files, or of their content, beside columns that are to be predicted.

Nothing is decoded here.
"""

from __future__ import annotations

from pathlib import Path

from lab.errors import SpecError, TaskError
from lab.tasks.images.options import ImageOptions
from lab.tasks.images.source import Raw, Source
from lab.tasks.table.frame import need_columns, read_table
from lab.tasks.table.held import Held
from lab.tasks.table.target import Target, fit_target, need_values, with_target
from lab.tasks.table.values import is_nested, row_number

_IMAGE, _LABEL = ("image", "img"), ("label", "labels")


def open_rows(path: str, options: ImageOptions, target: Target | None = None) -> Source:
    """The rows of a table that have every target.

    Args:
        target: what was learned of another table's targets; None: it is learned of this one's.

    Raises:
        SpecError: a column is not there.
        TaskError: the table cannot be read, or holds something else than images or targets.
    """
    table = read_table(Path(path), options)
    image = _image_column(table, options)
    names = options.targets or _named(table, _LABEL, "task.target", path)
    need_columns(table, names, "task.target")
    if image in names:
        raise SpecError("task.image", f"{image!r} is the target as well")
    for name in names:
        if is_nested(table[name]):
            raise TaskError(f"{path}: target {name!r} holds lists or mappings; a target is one value in each row")
    rows = with_target(table, names)
    need_values(rows, names)
    try:
        if target is None:
            target = fit_target(rows, names, options.target_type, options.several_types)
        values = target.values(rows)
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error
    images, called = _images(rows, image, path)
    return Source(
        images,
        called,
        values,
        target.class_names,
        target=target,
        without_target=len(table) - len(rows),
    )


def read_rows(path: str, options: ImageOptions, target: Target) -> tuple[Source, tuple[str, ...]]:
    """Images to predict for, and why they are not scored where they hold targets that they cannot be scored by.

    Raises:
        LabError: as `open_rows`, but for the targets.
    """
    table = read_table(Path(path), options)
    images, called = _images(table, _image_column(table, options), path)
    values, why_not = target.values_in(table)
    return Source(images, called, values, target.class_names, target=target), why_not


def _image_column(table: Held, options: ImageOptions) -> str:
    if options.image is not None:
        need_columns(table, [options.image], "task.image")
        return options.image
    return _named(table, _IMAGE, "task.image", "the table")[0]


def _named(table: Held, names: tuple[str, ...], where: str, path: str) -> tuple[str, ...]:
    """The first of these columns that is there."""
    there = [name for name in names if name in table]
    if not there:
        some = ", ".join(list(table.columns)[:12])
        raise SpecError(where, f"is missing, and {path} has no column {' or '.join(names)}; columns: {some}")
    return (there[0],)


def _images(table: Held, column: str, path: str) -> tuple[list[Raw], tuple[str, ...]]:
    """Each row's image, undecoded, and what it is called."""
    cells, folder = table[column], Path(path).parent
    images: list[Raw] = []
    names: list[str] = []
    for i, cell in enumerate(cells.tolist()):
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        named = cell.get("path") if isinstance(cell, dict) else cell
        if isinstance(content, bytes) and content:
            images.append(content)
            names.append(named if isinstance(named, str) and named else f"row {row_number(cells, i)}")
        elif isinstance(named, str) and named:
            images.append(folder / named)
            names.append(named)
        else:
            raise TaskError(f"{path}: column {column!r}: row {row_number(cells, i)} holds no image, and no path of one")
    return images, tuple(names)
