"""Files of what is costly to make again, in a study's folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

UNFINISHED = ".part"
"""The end of a file's name while it is written; a study deletes those that are left over."""


def weights_file(digest: str) -> str:
    """The file's name in which a study's folder keeps the weights of a body."""
    return f"body-{digest}.safetensors"


def keep(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Whole or not at all: several lanes may make the same at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=UNFINISHED, delete=False) as file:
        write(file)
    publish(Path(file.name), path)


def publish(written: Path, path: Path) -> None:
    """Give a file that is whole its name."""
    written.chmod(0o644)  # other users of a shared folder read it too
    written.replace(path)
