"""W&B in offline mode: what is logged, under which identity, and that nothing of it is imported otherwise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import main
from lab.study.study import Study
from tests import forked
from tests.small import environment, small_spec

CHANGES: dict[str, Any] = {"search": {"trials": 6, "epochs": 2}, "final": {"epochs": 2, "seeds": 1}}


class FakeRun:
    url = "https://wandb.test/run"
    dir = "/nowhere/wandb/run/files"

    def __init__(self) -> None:
        self.artifacts: dict[str, tuple[str, list[str], list[str]]] = {}
        self.summary: dict[str, Any] = {}
        self.logged: list[dict[str, Any]] = []
        self.finished = False

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        self.artifacts[artifact.name] = artifact.type, sorted(artifact.manifest.entries), aliases

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """The runs that were begun, which go nowhere."""
    import wandb

    begun: list[FakeRun] = []

    def init(**arguments: Any) -> FakeRun:
        begun.append(FakeRun())
        begun[-1].summary["begun with"] = arguments
        return begun[-1]

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return begun


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


def test_a_finished_study_is_logged_whole(
    small_study: Study,
    runs: list[FakeRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With its answer, its files, and in the run that its folder names, wherever that lies."""
    for name in ("one", "moved"):
        folder = shutil.copytree(small_study.record.folder if name == "one" else tmp_path / "one", tmp_path / name)
        monkeypatch.setattr("sys.argv", ["lab", "study", "report", str(folder), "--to", "wandb", "--trust"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert capsys.readouterr().out.splitlines()[-1] == "tracking  https://wandb.test/run"
    assert runs[0].summary["begun with"]["id"] == runs[1].summary["begun with"]["id"]
    found, summary = small_study.result.summary, runs[1].summary
    assert found.setup is not None
    assert {name: summary[f"setup/{name}"] for name in small_study.result.best_params} == small_study.result.best_params
    assert found.handed is not None
    assert summary["test/accuracy"] == found.handed.score
    assert summary["cost/trainings"] == found.cost.trainings
    assert summary["explore/trials"] == small_study.spec.search.trials
    kept = runs[1].artifacts
    assert {name: entry[0] for name, entry in kept.items()} == {"small-results": "results", "small-model": "model"}
    assert kept["small-results"][1] == ["report.html", "trials.parquet"]
    assert len(kept["small-model"][1]) == found.handed.models
    assert kept["small-model"][2] == ["best"]
    assert all(run.finished for run in runs)


def test_what_another_user_has_begun_is_sent_nowhere(
    small_study: Study, runs: list[FakeRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    (folder / ".trust.json").unlink()
    monkeypatch.setattr("sys.argv", ["lab", "study", "report", str(folder), "--to", "wandb"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert not runs


def test_a_service_that_refuses_is_told_in_a_line(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    def init(**arguments: Any) -> FakeRun:
        raise RuntimeError("no such\nserver")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    monkeypatch.setattr("sys.argv", ["lab", "study", "report", str(folder), "--to", "wandb", "--trust"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code
    said = capsys.readouterr().err
    assert said == "lab: W&B: RuntimeError: no such server; the report itself is written\n"


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
