"""What is doubtful about images, in a line each, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from lab.tasks.beside import doubts
from lab.tasks.classes import alike_lines, lopsided, thin_classes

if TYPE_CHECKING:
    from lab.tasks.images.image_data import ImageData


def warnings_of(data: ImageData) -> tuple[str, ...]:
    checks = {
        "files passed over": _files,
        "images of one colour": _plain,
        "duplicates": _duplicates,
        "rare classes": _classes,
        "places in images": _coordinates,
    }
    return doubts({what: partial(check, data) for what, check in checks.items()})


def _files(data: ImageData) -> Iterator[str]:
    for part in data.parts:
        if part.source.empty:
            yield f"no class is made of what holds no image: {', '.join(part.source.empty)}"
        if part.source.loose:
            yield f"{part.source.loose} images beside class folders have no class and are passed over"
        yield from part.source.passed_over.lines()
        if part.source.without_target:
            yield f"{part.source.without_target} rows of the table have no target and are left out"
        if part.unreadable:
            some = ", ".join(part.unreadable[:5]) + (", ..." if len(part.unreadable) > 5 else "")
            yield f"{len(part.unreadable)} images cannot be read and are left out: {some}"


def _plain(data: ImageData) -> Iterator[str]:
    train = data.pixels("train").reshape(len(data.rows["train"]), data.fitted.channels, -1)
    plain = int((train.min(axis=2) == train.max(axis=2)).all(axis=1).sum())
    if plain:
        yield (
            f"{plain} of {len(train)} training images are of one colour throughout; what is transparent is seen as "
            "white"
        )


def _duplicates(data: ImageData) -> Iterator[str]:
    trained_on = {hash(image.tobytes()) for image in data.pixels("train")}
    for split in ("valid", "test"):
        twice = sum(hash(image.tobytes()) in trained_on for image in data.pixels(split))
        if twice:
            yield (
                f"{twice} of {len(data.rows[split])} {split} images are also training images: duplicates make scores "
                "too good"
            )


def _classes(data: ImageData) -> Iterator[str]:
    if data.fitted.kind == "regression":
        return
    labels, names = {split: data.labels(split) for split in data.rows}, data.fitted.class_names
    yield from alike_lines("labels" if data.fitted.multilabel else "classes", names)
    if not data.fitted.multilabel and (line := lopsided(labels["train"], labels["valid"], names)):
        yield line
    yield from thin_classes(labels, names)


def _coordinates(data: ImageData) -> Iterator[str]:
    target, options = data.fitted.target, data.options
    moved = [name for name in ("flip", "shift") if getattr(options, name) not in (False, 0, "auto")]
    if target is not None and target.numbers and moved:
        yield (
            f"task.{' and task.'.join(moved)} move{'s' if len(moved) == 1 else ''} what is in an image, and "
            f"the values of {', '.join(target.numbers[:4])} stay as they are: leave it out where one of them is a place"
        )
