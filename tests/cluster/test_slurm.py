"""The Slurm script, run through stand-ins for `srun` and `scontrol` that start its processes on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab.record.folder import Record
from lab.record.spec_file import read_spec
from lab.record.trials import read_trials
from lab.study.study import Study
from tests import forked
from tests.lanes.ray.clusters import free_port, ray_environment
from tests.small import small, write_yaml

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm" / "lab.sbatch"
EPOCHS = 14

SRUN = """#!/usr/bin/env bash
# Runs the command here, under the name of the node that was asked for.
while [[ $1 == --* ]]; do
  case $1 in
    --nodelist=*) node=${1#*=} ;;
    --nodes=1|--ntasks=1|--overlap) ;;
    *) echo "srun: unrecognized option '$1'" >&2; exit 1 ;;
  esac
  shift
done
echo "$node $*" >> "$FAKE_LOG"
if [[ $1 == hostname ]]; then echo 127.0.0.1; exit 0; fi
# Nodes of one machine share its memory: each gets a small object store.
if [[ "$1 $2" == "ray start" ]]; then set -- "$@" --object-store-memory=80000000; fi
exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >> "$FAKE_LOG"
case "$1 $2" in
  "show hostnames") printf 'n1\\nn2\\n' ;;
  requeue*) ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """An environment as `sbatch` makes it for a job of two nodes."""
    fakes = tmp_path / "bin"
    fakes.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (fakes / name).write_text(text)
        (fakes / name).chmod(0o755)
    env = {k: v for k, v in ray_environment().items() if not k.startswith("RAY_AUTH")}
    env |= forked.lanes_forked(env)
    # As short as it can be: Ray's sockets lie below /tmp/lab-ray-ID.
    return env | {
        "PATH": f"{fakes}:{env['PATH']}",
        "FAKE_LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_CPUS_PER_TASK": "1",
        "LAB_PORT": str(free_port()),
        "LAB_DIR": str(tmp_path / "run"),
    }


def spec(tmp_path: Path) -> Path:
    space = {"max_lr": {"low": 0.001, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}}
    search = {"sampler": {"kind": "random"}, "trials": 8, "epochs": EPOCHS}
    value = small(task=f"{ROOT / 'studies' / 'benchmarks' / 'chaos_task.py'}:SlowDigits", space=space, search=search)
    value["execution"] = {"width": 2, "path": "stacked", "lanes": 2, "checkpoint_s": 0.5}
    return write_yaml(tmp_path / "study.yaml", value)


def start(slurm: dict[str, str], path: Path, output: Any) -> subprocess.Popen[bytes]:
    command = ["bash", str(SCRIPT), str(path), "--until", "explore"]
    return subprocess.Popen(command, env=slurm, stdout=output, stderr=output, cwd=path.parent)


def curves(folder: Path) -> dict[int, Any]:
    return {r.number: (r.params, r.score, r.curve) for r in read_trials(Record(folder), "explore")}


def test_the_script_is_sound() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_spec_must_be_given(slurm: dict[str, str]) -> None:
    done = subprocess.run(["bash", str(SCRIPT)], env=slurm, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "usage: sbatch" in done.stderr


@pytest.mark.slow
def test_a_preempted_job_is_queued_again_and_goes_on_to_the_undisturbed_end(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    path = spec(tmp_path)
    with open(tmp_path / "output", "wb") as output:
        job = start(slurm | {"CHAOS_SLEEP_S": "0.15"}, path, output)  # so that there is something left to preempt
        deadline = time.monotonic() + 120
        while not any(row.curve for row in read_trials(Record(tmp_path / "run"), "explore")):
            assert job.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        job.send_signal(signal.SIGTERM)  # as `--signal=B:TERM@90` sends it: to the script alone
        assert job.wait(timeout=60) == 0
        assert "all finished epochs are saved" in (tmp_path / "output").read_text()
        log = (tmp_path / "log").read_text()
        assert f"scontrol requeue {slurm['SLURM_JOB_ID']}" in log
        before = curves(tmp_path / "run")
        assert any(len(curve) < EPOCHS for _, _, curve in before.values())
        assert start(slurm, path, output).wait(timeout=240) == 0, (tmp_path / "output").read_text()
    log = (tmp_path / "log").read_text()
    assert [line.split()[0] for line in log.splitlines() if "ray start" in line] == ["n1", "n2"] * 2
    Study.from_spec(read_spec(path), tmp_path / "local").run(engine="local", lanes=1, until="explore")
    assert read_spec(tmp_path / "run" / "study.yaml").execution.lanes == 2
    after = curves(tmp_path / "run")
    assert after == curves(tmp_path / "local")
    assert all(after[n][2].items() >= curve.items() for n, (_, _, curve) in before.items())
    assert not list(tmp_path.glob(".lab-token-*")), "the token is gone with the job"
