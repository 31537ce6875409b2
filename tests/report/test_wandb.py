"""W&B in offline mode: what is logged, under which identity, and that nothing of it is imported otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.study.study import Study
from tests import forked
from tests.small import environment, small_spec

CHANGES: dict[str, Any] = {"search": {"trials": 6, "epochs": 2}, "final": {"epochs": 2, "seeds": 1}}


class FakeRun:
    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.logged: list[dict[str, Any]] = []
        self.finished = False

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self) -> None:
        self.finished = True


@pytest.mark.slow
def test_a_study_is_logged_offline(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.small import small_spec\nfrom lab.study.study import Study\n"
        f"Study.from_spec(small_spec(**{CHANGES}), Path(sys.argv[1])).run(track='wandb')\n"
    )
    done = forked.run(["-c", code, str(tmp_path / "run")], environment())
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(runs) == 1
    assert next(runs[0].glob("*.wandb")).stat().st_size > 10_000


def test_a_resumed_study_goes_on_in_its_run_and_no_secret_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    started: list[dict[str, Any]] = []
    runs: list[FakeRun] = []

    def init(**arguments: Any) -> FakeRun:
        started.append(arguments)
        runs.append(FakeRun())
        return runs[-1]

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = small_spec(**CHANGES)
    Study.from_spec(spec, tmp_path / "run").run(track="wandb", until="explore")
    Study.open(tmp_path / "run").run(track="wandb")
    assert started[0]["id"] == started[1]["id"]
    assert started[0]["resume"] == "allow"
    assert "storage" not in json.dumps(started[0]["config"])
    assert runs[0].summary["explore/trials"] == 6
    assert "ensemble/chosen/temperature" in runs[1].summary
    assert "explore/trials" not in runs[1].summary
    assert sum("explore/score" in entry for entry in runs[0].logged) == 6
    assert any("report" in entry for entry in runs[1].logged)
    assert all(run.finished for run in runs)


def test_a_study_without_tracking_imports_nothing_of_it(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['wandb'] = None\nsys.modules['plotly'] = None\n"
        "from pathlib import Path\nfrom tests.small import small_spec\nfrom lab.study.study import Study\n"
        f"Study.from_spec(small_spec(**{CHANGES}), Path(sys.argv[1])).run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "plot needs plotly" in (tmp_path / "run" / "report.html").read_text()
