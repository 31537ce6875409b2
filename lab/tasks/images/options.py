"""What a spec may say of images, refused where it is impossible. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.errors import SpecError, nearest

MAX_SIZE = 4096
"""Side in pixels: one more digit is a slip, and would fill the memory before anything is said."""
BUILT_IN = ("small_cnn", "resnet")
_LIBRARIES = ("timm", "torchvision")


def check_net(name: str) -> None:
    """Refuse the name of a net that cannot be had.

    Raises:
        SpecError: with the choices.
    """
    if not isinstance(name, str):
        raise SpecError("task.model", f"{name!r} is not the name of a net")
    if name in BUILT_IN or name.partition(":")[0] in _LIBRARIES:
        return
    choices = ", ".join([*BUILT_IN, *(f"{library}:NAME" for library in _LIBRARIES)])
    raise SpecError("task.model", f"{name!r} is unknown{nearest(name, BUILT_IN)}; choices: {choices}")


@dataclass(frozen=True)
class ImageOptions:
    """What a spec says of images; see `Images`."""

    path: str
    test_path: str | None = None
    split: Any = "auto"
    size: int | None = None
    limit: int | None = None
    max_unreadable: float = 0.01
    class_names: list[str] | None = None

    def __post_init__(self) -> None:
        for name in ("size", "limit"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise SpecError(f"task.{name}", f"{value!r} is not a whole number of at least 1")
        if self.size is not None and self.size > MAX_SIZE:
            raise SpecError("task.size", f"{self.size} is above {MAX_SIZE} pixels")
        if not isinstance(self.path, str) or not self.path:
            raise SpecError("task.path", f"{self.path!r} is not a path")
        if self.test_path is not None and not isinstance(self.test_path, str):
            raise SpecError("task.test_path", f"{self.test_path!r} is not a path")
        names = self.class_names
        if names is not None and (not isinstance(names, list) or not all(isinstance(n, str) for n in names)):
            raise SpecError("task.class_names", f"{names!r} is not a list of names")
        if names is not None and len(set(names)) < len(names):
            raise SpecError("task.class_names", f"{names!r} has a name twice")
        if not isinstance(self.max_unreadable, (int, float)) or not 0 <= self.max_unreadable < 1:
            raise SpecError("task.max_unreadable", f"{self.max_unreadable!r} is not a share between 0 and 1")
