"""What a net began with, where that is another study: kept in the folder of the study that begins with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from lab.tasks.keeping import keep
from lab.tasks.transfer.weights import check_may_fetch

if TYPE_CHECKING:
    from dataclasses import Field
    from typing import Any

_KEPT = "from-study.json"


class BegunWith(Protocol):
    """A frozen dataclass of what JSON holds."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def study(self) -> str:
        """The folder that was asked for."""


_B = TypeVar("_B", bound=BegunWith)


def begun_with(kind: type[_B], asked: str, folder: Path | None, fetches: bool, take: Callable[[], _B]) -> _B:
    """What a net begins with: as the study's own folder keeps it, where that is still what is asked for, or the other
    study is not there; else as it is taken from the other study, and kept.

    Args:
        asked: the other study's folder.
        folder: where the study keeps what it needs; None: nowhere.
        fetches: whether anything but the study's folder may be read for it.

    Raises:
        LabError: as `take`, or the other study may not be read.
    """
    kept = _kept(kind, folder)
    if kept is not None and (kept.study == asked or not fetches or not Path(asked).is_dir()):
        return kept
    check_may_fetch(asked, fetches)
    made = take()
    if folder is not None:
        keep(folder / _KEPT, lambda file: file.write(json.dumps(asdict(made)).encode()))
    return made


def _kept(kind: type[_B], folder: Path | None) -> _B | None:
    if folder is None:
        return None
    try:
        return kind(**json.loads((folder / _KEPT).read_bytes()))
    except (OSError, ValueError, TypeError):  # there is none yet, or it is damaged
        return None
