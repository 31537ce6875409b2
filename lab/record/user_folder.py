"""Where a user's own files lie that belong to no study (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """For what is to last.

    Raises:
        RuntimeError: the user has no home.
    """
    return _folder("XDG_STATE_HOME", Path(".local", "state"))


def cache_folder() -> Path:
    """For what may be deleted at any time; errors as `state_folder`."""
    return _folder("XDG_CACHE_HOME", Path(".cache"))


def _folder(variable: str, in_home: Path) -> Path:
    set_to = os.environ.get(variable)
    return (Path(set_to) if set_to else Path.home() / in_home) / "onecycle-lab"
