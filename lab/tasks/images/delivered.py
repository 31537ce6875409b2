"""A finished study of heads, as a whole net begins with it. Reads JSON and names, runs nothing; no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.errors import SpecError, TaskError
from lab.spec.folder_names import DATA
from lab.tasks.images.image_data import Fitted
from lab.tasks.images.options import ImageOptions
from lab.tasks.keeping import weights_file
from lab.tasks.transfer.finished import finished

_DIGEST = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class Delivered:
    """What a study of heads hands out, as far as the whole net needs it."""

    head: Path
    """The weights of the head that counts most, which no validation image has had a part in."""
    body: Path
    fitted: Fitted
    """What that study has learned of its images, and how its body's features come to one scale."""


def delivered(options: ImageOptions, images: Fitted, learned_from: Callable[[], str]) -> Delivered:
    """What the study of `task.from_study` hands out.

    Args:
        images: of the study that begins with it.
        learned_from: by which its training and validation images are known again. The head has learned from those of
            its own study; were some of them test images here, or validation images, these would prove nothing.

    Raises:
        SpecError: there is no such study, it is none of heads, or one of another net or of other images.
        TaskError: it has not finished, or is damaged.
    """
    assert options.from_study is not None  # whoever asks has seen it
    study = finished(options.from_study)
    if not {"features", "center"} <= study.fitted.keys() or not study.fitted["center"]:
        raise SpecError("task.from_study", f"'{study.folder}' is no study of images with train: head")
    fitted = Fitted.load(study.fitted)
    if not fitted.learned_from or _DIGEST.fullmatch(str(fitted.body)) is None:
        raise SpecError(
            "task.from_study",
            f"'{study.folder}' does not say which images it learned from, as it is older; run it again",
        )
    if not _is_scale(fitted.center, fitted.spread):
        raise TaskError(f"{study.folder}: what was fitted to the images is damaged (center or spread)")
    for what, theirs, ours in (
        ("the net", fitted.net, options.model),
        ("classes", _some(fitted.class_names), _some(images.class_names)),
        ("images", f"{fitted.width}x{fitted.height}", f"{images.width}x{images.height}"),
    ):
        if theirs != ours:
            raise SpecError("task.from_study", f"'{study.folder}' is of {what} {theirs}, and this study of {ours}")
    if fitted.learned_from != learned_from():
        raise SpecError(
            "task.from_study",
            f"'{study.folder}' learned from other images or another split; give both studies the same task.path, "
            "test_path, limit and split",
        )
    return Delivered(study.chosen(), study.file(DATA, weights_file(fitted.body)), fitted)


def _is_scale(center: object, spread: object) -> bool:
    """Whether they are a mean and a spread of each feature, which JSON of anybody's need not hold there."""
    if not (isinstance(center, tuple) and isinstance(spread, tuple) and len(center) == len(spread)):
        return False
    numbers = all(isinstance(value, float) and math.isfinite(value) for value in (*center, *spread))
    return numbers and min(spread) > 0


def _some(names: tuple[str, ...], shown: int = 8) -> str:
    return ", ".join(map(str, names[:shown])) + (f", ... ({len(names)})" if len(names) > shown else "")
