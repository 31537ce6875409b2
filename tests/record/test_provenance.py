"""What a result was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.record.provenance import provenance


def test_a_machine_without_git_tells_all_but_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    facts = provenance()
    assert "commit" not in facts
    assert {"python", "machine", "torch", "optuna"} <= facts.keys()
