"""What a spec may say of images, refused where it is impossible. Needs no torch."""

from __future__ import annotations

from typing import Any

from lab.errors import SpecError, nearest
from lab.tasks.images.augmentation import Augmentation
from lab.tasks.options import PATH, SHARE, Allowed, option, whole
from lab.tasks.scored import Scored
from lab.tasks.splits import SPLIT_MEANING

MAX_SIZE = 4096
"""Side in pixels: one more digit is a slip, and would fill the memory before anything is said."""
BUILT_IN = ("small_cnn", "resnet")
LIBRARIES = ("timm", "torchvision")

_NAMES = Allowed(
    "is not a list of names",
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
)


def check_net(name: str) -> None:
    """Refuse the name of a net that cannot be had.

    Raises:
        SpecError: with the choices.
    """
    if not isinstance(name, str):
        raise SpecError("task.model", f"{name!r} is not the name of a net")
    if name in BUILT_IN or name.partition(":")[0] in LIBRARIES:
        return
    choices = ", ".join([*BUILT_IN, *(f"{library}:NAME" for library in LIBRARIES)])
    raise SpecError("task.model", f"{name!r} is unknown{nearest(name, BUILT_IN)}; choices: {choices}")


class ImageOptions(Augmentation, Scored):
    """What a spec may say of images."""

    path: str = option("the images: a folder of class folders, .parquet, .npz, a saved data set, or hub:NAME", PATH)
    """A folder may hold `train`, `valid`, `test` with class folders. A parquet has columns image (or img) and label, an
    npz has x uint8 [n, h, w(, channels)] and y."""
    test_path: str | None = option(
        "test images in the same form; without it they are taken from the first", PATH, default=None
    )
    model: str = option(
        "small_cnn, resnet, timm:NAME or torchvision:NAME; another net: a subclass of lab.Images", default="small_cnn"
    )
    size: int | None = option(
        "side in pixels to which images are brought; needed where they differ", whole(1), default=None
    )
    limit: int | None = option(
        "at most so many images of `path`, drawn by the split's seed, each class in its share", whole(1), default=None
    )
    split: Any = option(SPLIT_MEANING, default="auto")
    max_unreadable: float = option("share of images that may be unreadable", SHARE, default=0.01)
    class_names: list[str] | None = option(
        "what the classes are called, in their order, where the source has no names", _NAMES, default=None
    )

    def check(self) -> None:
        super().check()
        check_net(self.model)
        if self.size is not None and self.size > MAX_SIZE:
            raise SpecError("task.size", f"{self.size} is above {MAX_SIZE} pixels")
        if self.class_names is not None and len(set(self.class_names)) < len(self.class_names):
            raise SpecError("task.class_names", f"{self.class_names!r} has a name twice")
