"""What tests of timing share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def times_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing has been timed yet, and each test keeps its own times."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("lab.lanes.speed.contention.Contention.is_quiet", lambda watch: True)
    return tmp_path / "cache" / "onecycle-lab" / "times"
