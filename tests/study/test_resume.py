"""kill -9 at any moment, then resume: nothing is lost, nothing repeated, and the study ends as if undisturbed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.stages import STAGES
from tests import forked
from tests.outcome import NAMES, outcome_of
from tests.small import environment, lab, small, start_lab, write_yaml


def _path(record: Record, stage: str) -> Path:
    return STAGES[NAMES.index(stage)].path(record)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    spec = write_yaml(folder / "study.yaml", slow_enough())
    done = lab("study", "run", spec, "--dir", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def slow_enough() -> dict[str, Any]:
    """Long enough that a kill lands inside a stage."""
    return small(search={"epochs": 8}, final={"epochs": 10}, bounds={"steps": 250})


def wait_until_inside(folder: Path, stage: str, process: forked.Process | subprocess.Popen[str]) -> None:
    """Wait until `stage` is under way: its trials report, or, where it has none, the stage before is complete."""
    record = Record(folder)
    before = NAMES[NAMES.index(stage) - 1]
    while process.poll() is None:
        if _path(record, stage).exists() or _begun(record, stage, before):
            return
        time.sleep(0.01)


def _begun(record: Record, stage: str, before: str) -> bool:
    if stage in ("explain", "ensemble"):
        return _path(record, before).exists()
    if stage == "bounds":  # its trials report a score only when they end
        return (record.folder / "lanes").exists()
    return record.journal_path.exists() and any(row.curve for row in read_trials(record, stage))


@pytest.mark.slow
def test_a_kill_in_each_stage_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start_lab("study", "run", write_yaml(tmp_path / "study.yaml", slow_enough()), "--dir", folder)
    closed: dict[str, dict[int, Any]] = {}
    for stage in NAMES:
        wait_until_inside(folder, stage, process)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"{stage} was over before it could be killed: {output}"
        closed[stage] = {r.number: r.curve for r in read_trials(Record(folder), stage) if r.outcome}
        process = start_lab("study", "resume", folder)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    for stage, before in closed.items():
        after = {r.number: r.curve for r in read_trials(Record(folder), stage)}
        assert {number: after[number] for number in before} == before
    assert outcome_of(folder) == outcome_of(undisturbed)


@pytest.mark.slow
def test_a_kill_among_trials_of_several_groups_changes_nothing(tmp_path: Path) -> None:
    mixed = {"batch_size": {"choice": [32, 64, 128]}, "optimizer": {"choice": ["adamw", "sgd"]}}
    space = {"max_lr": {"low": 1e-3, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}, **mixed}
    spec = write_yaml(tmp_path / "study.yaml", small(search={"epochs": 12}, space=space))
    folders = [tmp_path / name for name in ("whole", "killed")]
    assert lab("study", "run", spec, "--dir", folders[0], "--until", "explore").returncode == 0
    process = start_lab("study", "run", spec, "--dir", folders[1], "--until", "explore")
    wait_until_inside(folders[1], "explore", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the study was over before it could be killed"
    assert lab("study", "resume", folders[1], "--until", "explore").returncode == 0
    whole, killed = (
        [
            (r.number, r.params, r.outcome, r.score, r.curve, r.trial.seed)
            for r in read_trials(Record(folder), "explore")
        ]
        for folder in folders
    )
    assert whole == killed


@pytest.mark.slow
def test_many_kills_on_ray_lose_and_repeat_no_trial_and_change_no_bit_of_the_search(tmp_path: Path) -> None:
    value = small(search={"epochs": 20, "trials": 12}, execution={"engine": "ray", "lanes": 2, "width": 2})
    spec = write_yaml(tmp_path / "study.yaml", value)
    folder, search = tmp_path / "run", ("--until", "explore")
    closed: dict[int, Any] = {}
    ends: list[int] = []
    process = start_lab("study", "run", spec, "--dir", folder, *search)
    for _ in range(2):
        wait_until_inside(folder, "explore", process)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ends.append(process.returncode)
        now = {r.number: (r.params, r.score, r.curve) for r in read_trials(Record(folder), "explore") if r.outcome}
        assert {n: now[n] for n in closed} == closed
        closed = now
        process = start_lab("study", "resume", folder, *search)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert -signal.SIGKILL in ends, "a search that has ended cannot be killed"
    rows = read_trials(Record(folder), "explore")
    assert [r.number for r in rows] == list(range(12))
    assert {r.number: (r.params, r.score, r.curve) for r in rows if r.number in closed} == closed
    # On one lane in a process, four at a time and undisturbed, it is the same search to the last bit.
    alone = ("--engine", "local", "--lanes", "1", "--width", "4", *search)
    assert lab("study", "run", spec, "--dir", tmp_path / "alone", *alone).returncode == 0
    others = read_trials(Record(tmp_path / "alone"), "explore")
    same = [[(r.params, r.outcome, r.score, r.curve, r.trial.seed) for r in each] for each in (rows, others)]
    assert same[0] == same[1]


@pytest.mark.slow
def test_ctrl_c_ends_the_epoch_saves_and_says_how_to_resume(undisturbed: Path, tmp_path: Path) -> None:
    spec = write_yaml(tmp_path / "study.yaml", slow_enough())
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "lab", "study", "run", str(spec), "--dir", str(folder)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, env=environment(), text=True, **streams)  # type: ignore[call-overload]
    wait_until_inside(folder, "explore", process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"resume with: lab study resume {folder}" in said
    assert "Traceback" not in said
    assert lab("study", "resume", folder, "--until", "explore").returncode == 0
    assert outcome_of(folder, "explore") == outcome_of(undisturbed, "explore")


def test_a_complete_study_run_again_does_nothing_anew(undisturbed: Path) -> None:
    before = outcome_of(undisturbed)
    journal = (undisturbed / "ledger.journal").read_bytes()
    done = lab("study", "resume", undisturbed)
    assert done.returncode == 0
    assert outcome_of(undisturbed) == before
    assert (undisturbed / "ledger.journal").read_bytes() == journal


def test_status_and_list_and_export_read_a_study(undisturbed: Path, tmp_path: Path) -> None:
    status = json.loads(lab("study", "status", undisturbed, "--json").stdout)
    assert status["complete"]
    assert status["stages"]["explore"]["trials"] == {"completed": 12}
    assert "complete" in lab("study", "status", undisturbed).stdout
    assert str(undisturbed) in lab("study", "list", undisturbed.parent).stdout
    exported = lab("study", "export", undisturbed, "--to", "csv", "--output", tmp_path / "t.csv")
    assert exported.returncode == 0
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert "params_max_lr" in lines[0]
    assert len(lines) == 1 + 2 + 12 + 8 + 19 + len(read_trials(Record(undisturbed), "refit"))
