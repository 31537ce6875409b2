"""Which files below a folder are images, and which are passed over: by their names, before anything is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from lab.tasks.description import some

_NO_DECODER = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow recognises and leaves to other programs to decode, or starts one for it."""
_OF_SYSTEMS = frozenset(
    {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "Thumbs.db", "desktop.ini"}
)
"""Folders and files that systems put beside a user's own."""


@dataclass(frozen=True)
class PassedOver:
    """What lies below a folder and is not taken for an image."""

    hidden: int = 0
    """Files of systems and notebooks: hidden ones, and all in hidden folders."""
    suffixes: Counter[str] = field(default_factory=Counter)
    """How many files there are of each suffix that is no image's."""
    links: tuple[str, ...] = ()
    """Links to folders, which are not followed: they may lead back."""

    def lines(self) -> Iterator[str]:
        """For people, one line for each kind."""
        if self.hidden:
            yield f"passed over as files of systems and notebooks, which are hidden or in hidden folders: {self.hidden}"
        if self.suffixes:
            counts = [f"{suffix or 'no suffix'} ({n})" for suffix, n in self.suffixes.most_common()]
            yield f"passed over for their suffix: {some(counts, 8)}"
        if self.links:
            yield f"links to folders are not followed: {some(self.links, 5)}; name what they lead to, or copy it"


@cache
def formats() -> frozenset[str]:
    """What the installed Pillow decodes by itself."""
    Image.init()
    return frozenset(Image.OPEN) - _NO_DECODER


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats())


def is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix."""
    return path.suffix.lower() in _suffixes()


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, but for hidden ones and those of systems."""
    return sorted(below for below in folder.iterdir() if below.is_dir() and not _is_hidden(below.name))


def listed(folder: Path, follow: Collection[Path] = ()) -> tuple[list[Path], PassedOver]:
    """Every image below a folder, in the order of their names, and what is passed over there.

    Args:
        follow: links to folders that are gone into.
    """
    images: list[Path] = []
    links: list[str] = []
    hidden, others = 0, Counter[str]()
    for directory, folders, names in os.walk(folder, followlinks=True):
        here = Path(directory)
        leading = [name for name in folders if (here / name).is_symlink() and here / name not in follow]
        folders[:] = [name for name in folders if name not in leading]
        if any(_is_hidden(part) for part in here.relative_to(folder).parts):
            hidden += len(names)
            continue
        links += [str((here / name).relative_to(folder)) for name in leading]
        for file in (here / name for name in names):
            if _is_hidden(file.name):
                hidden += 1
            elif is_image(file) and (file.is_file() or file.is_symlink()):  # a link to nothing counts as unreadable
                images.append(file)
            else:
                others[file.suffix.lower()] += 1
    return sorted(images), PassedOver(hidden, others, tuple(sorted(links)))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _OF_SYSTEMS
