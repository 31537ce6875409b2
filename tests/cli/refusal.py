"""The command line in this process, where it is to refuse something: a process of its own would cost seconds."""

from __future__ import annotations

import pytest

from lab.cli import main


def refuse(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run the command in this process; the one line it ends with."""
    monkeypatch.setattr("sys.argv", ["lab", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    error = capsys.readouterr().err
    assert ended.value.code == 2, error
    lines = [line for line in error.splitlines() if line.startswith("lab: ")]
    assert len(lines) == 1, error
    assert "Traceback" not in error
    return lines[0].removeprefix("lab: ")
