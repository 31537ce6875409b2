"""A finished study of heads or of a whole net, as a whole net begins with it. It is read, and nothing run; no torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import SpecError, TaskError
from lab.spec.folder_names import DATA
from lab.tasks.images.image_data import Fitted, ImageData
from lab.tasks.images.options import ImageOptions
from lab.tasks.keeping import weights_file
from lab.tasks.transfer.finished import finished

_DIGEST = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class Delivered:
    """What a study hands out, as far as the whole net needs it."""

    weights: Path
    """Weights of the head or the whole net that counts most, in which no validation image has had a part."""
    body: Path | None
    """The weights of the body below a head; None where the others are those of the whole net."""
    fitted: Fitted
    """What that study has learned of its images, and how its body's features come to one scale."""


def delivered(options: ImageOptions, images: Fitted, data: ImageData) -> Delivered:
    """What the study of `task.from_study` hands out.

    Args:
        images, data: of the study that begins with it. The net has learned from the training and validation images of
            its own study; were some of them test images here, or validation images, these would prove nothing. At one
            size they are compared by their pixels, at two by their names.

    Raises:
        SpecError: there is no such study, its net began with no weights, or it is one of another net or of other
            images.
        TaskError: it has not finished, or is damaged.
    """
    assert options.from_study is not None  # whoever asks has seen it
    study = finished(options.from_study)
    if not {"center", "body"} <= study.fitted.keys() or not study.fitted["body"]:
        raise SpecError("task.from_study", f"'{study.folder}' is no study of images with a net that began with weights")
    fitted = Fitted.load(study.fitted)
    one_size = (fitted.height, fitted.width) == (images.height, images.width)
    learned = fitted.learned_from if one_size else fitted.learned_names
    if not learned or _DIGEST.fullmatch(str(fitted.body)) is None:
        raise SpecError(
            "task.from_study",
            f"'{study.folder}' does not say which images it learned from, as it is older; run it again",
        )
    if fitted.center and not _is_scale(fitted.center, fitted.spread):
        raise TaskError(f"{study.folder}: what was fitted to the images is damaged (center or spread)")
    for what, theirs, ours in (
        ("the net", fitted.net, options.model),
        ("classes", _some(fitted.class_names), _some(images.class_names)),
    ):
        if theirs != ours:
            raise SpecError("task.from_study", f"'{study.folder}' is of {what} {theirs}, and this study of {ours}")
    if learned != (data.learned_from if one_size else data.learned_names):
        raise SpecError(
            "task.from_study",
            f"'{study.folder}' learned from other images or another split; give both studies the same task.path, "
            "test_path, limit and split",
        )
    body = study.file(DATA, weights_file(fitted.body)) if fitted.center else None
    return Delivered(study.chosen(), body, fitted)


def _is_scale(center: object, spread: object) -> bool:
    """Whether they are a mean and a spread of each feature, which JSON of anybody's need not hold there."""
    if not (isinstance(center, tuple) and isinstance(spread, tuple) and len(center) == len(spread)):
        return False
    numbers = all(isinstance(value, float) and math.isfinite(value) for value in (*center, *spread))
    return numbers and min(spread) > 0


def _some(names: tuple[str, ...], shown: int = 8) -> str:
    return ", ".join(map(str, names[:shown])) + (f", ... ({len(names)})" if len(names) > shown else "")
