"""What a spec's options for the task `images` come to, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.tasks.description import Description
from lab.tasks.images.delivered import delivered
from lab.tasks.images.image_data import ImageData
from lab.tasks.images.options import LIBRARIES, ImageOptions


def describe(options: Mapping[str, Any]) -> Description:
    """What is known of the images, and whether the net can be had that is to learn from them.

    Raises:
        LabError: they cannot be trained on, or there is no such net.
    """
    parsed = ImageOptions.parse(options)
    if parsed.model.partition(":")[0] in LIBRARIES:
        from lab.tasks.images.nets import check_library  # it brings torch, as the library does

        check_library(parsed.model)
    data = ImageData(parsed)
    described = data.describe()
    if parsed.from_study is not None:
        delivered(parsed, data.fitted, data)
    return described
