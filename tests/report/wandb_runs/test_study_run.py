"""W&B in offline mode: what would be sent, under which identity, and that nothing of it is imported otherwise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import main
from lab.record.folder import write_json
from lab.record.trials import TrialRow, read_stages
from lab.report.wandb_runs import service
from lab.stages import TRAINS
from lab.study.study import Study
from tests.small import environment, small_spec
from tests.wandb_files import KeptRun, kept_runs

pytestmark = pytest.mark.slow

CHANGES: dict[str, Any] = {"search": {"trials": 6, "epochs": 2}, "final": {"epochs": 2, "seeds": 1}}
SECRET = "secret-of-the-user"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_API_KEY", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that was logged with all of its trials, and paused once; not to be written to."""
    folder = tmp_path_factory.mktemp("tracked") / "run"
    spec = small_spec(**CHANGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        Study.from_spec(spec, folder).run(track="wandb", track_trials="all", until="explore")
        study = Study.open(folder)
        study.run(track="wandb", track_trials="all")
    return study


def _report(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> int:
    """Log a study that is there; the exit code."""
    monkeypatch.setattr("sys.argv", ["lab", "study", "report", str(folder), "--to", "wandb", *more])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def _trials(study: Study) -> dict[str, TrialRow]:
    """Trials by the name that their run has."""
    trials = read_stages(study.record, TRAINS, study.spec.store)
    return {f"{stage}-{row.number}": row for stage, rows in trials.items() for row in rows}


def _of(runs: list[KeptRun], job_type: str) -> list[KeptRun]:
    return [run for run in runs if run.job_type == job_type]


def test_each_trial_has_one_run_and_all_are_of_one_group(tracked: Study) -> None:
    runs = kept_runs(tracked.record.folder)
    assert {run.group for run in runs} == {f"small-{_of(runs, 'study')[0].id[:8]}"}
    assert Counter(run.job_type for run in runs)["study"] == 2  # it was paused
    assert len({run.id for run in _of(runs, "study")}) == 1
    shown = {name for name in _trials(tracked) if name.startswith(("explore-", "confirm-", "final-"))}
    assert sorted(run.name for run in _of(runs, "trial")) == sorted(shown)
    assert len({run.id for run in runs}) == len(shown) + 1
    assert {run.exit_code for run in runs} == {0}


def test_the_run_of_a_trial_has_its_settings_its_epochs_and_its_end(tracked: Study) -> None:
    trials = _trials(tracked)
    for run in _of(kept_runs(tracked.record.folder), "trial"):
        row, (stage, _, _) = trials[run.name], run.name.partition("-")
        trial = row.trial
        config = {"stage": stage, "trial": row.number, "seed": trial.seed, "epochs": trial.epochs, "role": trial.role}
        assert {name: value for name, value in run.config.items() if name != "_wandb"} == config | trial.params
        assert run.tags == list(dict.fromkeys(["digits", stage, trial.role]))
        assert run.axes == {"*": "epoch"}
        assert [(point["epoch"], point["_step"], point["score"]) for point in run.history] == [
            (epoch, epoch, score) for epoch, score in row.curve.items()
        ]
        assert all({"lr", "momentum", "train_loss", "valid_loss", "accuracy"} <= point.keys() for point in run.history)
        schedule = tracked.spec.schedule.schedule(trial.params)
        last = schedule.curves([trial.epochs * 100 - 1], trial.epochs * 100)
        assert run.history[-1]["lr"] == pytest.approx(last.lr[0])
        assert run.history[-1]["momentum"] == pytest.approx(last.momentum[0])
        ended = {"outcome": "completed", "score": row.score, "epochs": trial.epochs, "seconds": row.seconds}
        assert {name: run.summary[name] for name in ended} == ended


def test_the_run_of_a_study_has_curves_that_go_on(tracked: Study) -> None:
    first, later = _of(kept_runs(tracked.record.folder), "study")
    rows = [row for name, row in _trials(tracked).items() if name.startswith("explore-")]
    for run in (first, later):  # offline, no server can say what a run has, so that it has all again
        points = [point for point in run.history if "explore/ended" in point]
        scores = {row.number: row.score for row in rows}
        assert {point["explore/trial"]: point["explore/score"] for point in points} == scores
        assert [point["explore/best"] for point in points] == list(
            accumulate((p["explore/score"] for p in points), max)
        )
        assert [point["explore/ended"] for point in points] == [*range(1, 7)]
        assert run.axes["explore/best"] == run.axes["epochs"] == "trainings"
        steps = [point["_step"] for point in run.history]
        assert steps == sorted(set(steps))
    assert later.history[-1]["report/_type"] == "html-file"
    assert [p["_step"] for p in first.history if "trainings" in p] == [
        p["_step"] for p in later.history if "trainings" in p
    ][: sum("trainings" in p for p in first.history)]
    assert later.summary["trainings"] == len(_trials(tracked))


def test_the_run_of_a_study_has_its_answer_and_its_files(tracked: Study) -> None:
    first, later = _of(kept_runs(tracked.record.folder), "study")
    answer, summary = tracked.result.summary, later.summary
    assert first.summary["explore/trials"] == 6
    assert answer.setup is not None
    assert answer.handed is not None
    assert {name: summary[f"setup/{name}"] for name in tracked.result.best_params} == tracked.result.best_params
    assert summary["test/accuracy"] == answer.handed.score
    assert summary["cost/trainings"] == answer.cost.trainings
    assert later.artifacts["small-results"] == ["report.html", "trials.parquet"]
    assert len(later.artifacts["small-model"]) == answer.handed.models


def test_no_secret_is_sent(tracked: Study) -> None:
    files = [path for path in (tracked.record.folder / "wandb").rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_a_database_is_not_named(tmp_path: Path) -> None:
    spec = small_spec(**CHANGES, storage=f"sqlite:///{tmp_path / 'trials.db'}")
    Study.from_spec(spec, tmp_path / "run").run(track="wandb", track_trials="all", until="explore")
    runs = kept_runs(tmp_path / "run")
    assert Counter(run.job_type for run in runs) == {"study": 1, "trial": 6}
    assert not any("storage" in run.config or "trials.db" in json.dumps(run.config) for run in runs)
    assert all({"score", "train_loss"} <= point.keys() for run in _of(runs, "trial") for point in run.history)


def test_a_finished_study_is_logged_whole_in_the_run_that_its_folder_names(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(small_study.record.folder, tmp_path / "one")
    assert _report(monkeypatch, folder, "--trust") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"tracking  wandb sync {folder}/wandb/offline-run-*"
    assert err == ""
    moved = shutil.copytree(folder, tmp_path / "moved", ignore=shutil.ignore_patterns("wandb"))
    assert _report(monkeypatch, moved) == 0
    runs, again = kept_runs(folder), kept_runs(moved)
    assert {run.id: run.name for run in runs} == {run.id: run.name for run in again}
    epochs = [{run.name: len(run.history) for run in _of(of_one, "trial")} for of_one in (runs, again)]
    assert epochs[0] == epochs[1]
    (study,) = _of(runs, "study")
    assert study.summary["explore/trials"] == small_study.spec.search.trials
    assert study.summary["trainings"] == small_study.result.summary.cost.trainings


@pytest.mark.parametrize("which", ["best", "none"])
def test_of_a_finished_study_the_best_trials_are_logged_or_none(
    which: str, small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    assert _report(monkeypatch, folder, "--trust", "--track-trials", which) == 0
    trials = _trials(small_study)
    scored = [(-row.score, row.number) for name, row in trials.items() if name.startswith("explore-") and row.score]
    best = {f"explore-{number}" for _, number in sorted(scored)[:10]}
    raced = {
        f"explore-{c['trial']}" for c in small_study.result.artefact("confirm")["candidates"] if c["trial"] is not None
    }
    final = {name for name in trials if name.startswith("final-")}
    assert len(best) == 10
    shown = best | raced | final if which == "best" else set()
    assert {run.name for run in _of(kept_runs(folder), "trial")} == shown


def test_what_another_user_has_begun_is_sent_nowhere(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    (folder / ".trust.json").unlink()
    write_json(folder / "wandb_run.json", {"id": "0123456789abcdef"})
    assert _report(monkeypatch, folder) == 2
    assert not (folder / "wandb").exists()


def test_a_choice_of_trials_that_is_none_is_refused_before_anything_is_sent(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    assert _report(monkeypatch, folder, "--trust", "--track-trials", "some") == 2
    assert capsys.readouterr().err == "lab: --track-trials: 'some' is unknown; choices: best, all, none\n"
    assert not (folder / "wandb").exists()


def test_a_service_that_refuses_is_told_in_a_line(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    def init(**arguments: Any) -> None:
        raise RuntimeError("no such\nserver")

    not_waited_for: list[bool] = []
    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(service, "exit_without_waiting", lambda: not_waited_for.append(True))
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    assert _report(monkeypatch, folder, "--trust")
    assert not_waited_for
    said = capsys.readouterr().err
    assert said == "lab: W&B: RuntimeError: no such server; the report itself is written\n"


def test_ctrl_c_waits_for_no_service(small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def init(**arguments: Any) -> None:
        raise KeyboardInterrupt

    not_waited_for: list[bool] = []
    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(service, "exit_without_waiting", lambda: not_waited_for.append(True))
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    assert _report(monkeypatch, folder, "--trust") == 130
    assert not_waited_for


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
