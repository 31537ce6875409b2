"""Files of what is costly to make again, in a study's folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


def keep(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Whole or not at all: several lanes may make the same at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        write(file)
    Path(file.name).chmod(0o644)  # other users of a shared folder read it too
    Path(file.name).replace(path)
