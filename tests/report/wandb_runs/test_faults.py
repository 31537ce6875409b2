"""A server that refuses or vanishes while it is logged to: the study ends all the same, and the rest is sent later."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.record.trials import read_stages
from lab.stages import TRAINS
from lab.study.study import Study
from tests import forked
from tests.small import environment, lab, small, write_yaml
from tests.wandb_server import WandbServer

pytestmark = pytest.mark.slow

CHANGES: dict[str, Any] = {
    "space": {"max_lr": {"low": 0.01, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}},
    "search": {"trials": 4, "epochs": 2},
    "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
    "final": {"epochs": 2, "seeds": 1, "controls": "none", "refit_seeds": 1},
}
MIDDLE = 3
"""Runs after which the server changes its mind: that of the study and some of trials."""


@pytest.fixture(autouse=True)
def _service_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started here do not share the one of W&B's that other tests have begun."""
    monkeypatch.delenv("WANDB_SERVICE", raising=False)


@pytest.fixture
def server() -> Iterator[WandbServer]:
    server = WandbServer()
    yield server
    server.close()


_IMPATIENT = """
import sys
from lab.cli import main
from lab.report.wandb_runs import service
service._CALLS, service._EXIT_WITHIN_S = 2, 1.0
sys.argv = ["lab", *sys.argv[1:]]
main()
"""
"""The command line, which waits as it does for users, but for seconds less."""


def _run(folder: Path, server: WandbServer, **env: str) -> str:
    """Run a study; what it said."""
    spec = write_yaml(folder / "study.yaml", small(**CHANGES))
    command = "study", "run", str(spec), "--dir", str(folder / "run"), "--track=wandb", "--track-trials=all"
    done = forked.run(["-c", _IMPATIENT, *command], environment() | server.environment | env)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def _report(folder: Path, server: WandbServer) -> None:
    logged = "study", "report", folder / "run", "--to=wandb", "--track-trials=all"
    done = lab(*logged, **server.environment)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith(f"tracking  {server.environment['WANDB_BASE_URL']}/me/lab/runs/")


def _check_whole(folder: Path, server: WandbServer) -> None:
    """Whether the server has every epoch of every trial once, and every training of the study."""
    study = Study.open(folder / "run")
    trials = read_stages(study.record, TRAINS)
    shown = {f"{stage}-{row.number}": row for stage in ("explore", "confirm", "final") for row in trials[stage]}
    sent = {said["displayName"]: server.history[run] for run, said in server.begun.items()}
    assert {name: [point["epoch"] for point in sent[name]] for name in shown} == {
        name: sorted(row.curve) for name, row in shown.items()
    }
    assert sent.keys() == {*shown, "small"}
    points = [point["trainings"] for point in sent["small"] if "trainings" in point]
    assert points == [*range(1, sum(map(len, trials.values())) + 1)]
    assert {said["groupName"] for said in server.begun.values()} == {next(iter(server.begun.values()))["groupName"]}
    assert sorted({said["jobType"] for said in server.begun.values()}) == ["study", "trial"]


def test_a_study_is_logged_while_it_runs_and_once_more_to_no_effect(tmp_path: Path, server: WandbServer):
    said = [line for line in _run(tmp_path, server).splitlines() if "track" in line or "wandb" in line]
    (study,) = [run for run, begun in server.begun.items() if begun["jobType"] == "study"]
    assert said == [f"tracking  {server.environment['WANDB_BASE_URL']}/me/lab/runs/{study}"]
    _check_whole(tmp_path, server)
    _report(tmp_path, server)
    _check_whole(tmp_path, server)
    assert b"kkkkkkkk" not in server.sent


@pytest.mark.parametrize("status", [401, 404])
def test_a_key_that_is_revoked_is_told_in_a_line_and_caught_up_with(tmp_path: Path, server: WandbServer, status: int):
    server.then = (MIDDLE, lambda: setattr(server, "refuse", status))
    _check_told(tmp_path, _run(tmp_path, server))
    assert any(said["displayName"] == "small" for said in server.begun.values())
    server.refuse = None
    _report(tmp_path, server)
    _check_whole(tmp_path, server)


def test_a_server_that_is_gone_is_told_in_a_line_and_caught_up_with(tmp_path: Path):
    gone, back = WandbServer(), WandbServer()
    gone.then = (MIDDLE, gone.close)
    _check_told(tmp_path, _run(tmp_path, gone, WANDB_FINISH_TIMEOUT="1"))
    _report(tmp_path, back)
    _check_whole(tmp_path, back)
    back.close()


def test_a_service_that_is_stuck_holds_up_neither_the_study_nor_its_end(tmp_path: Path, server: WandbServer):
    """W&B's own process stops, and its library waits for that without a limit."""
    stuck: list[int] = []

    def stop() -> None:
        stuck.extend(_services_of(server))
        for pid in stuck:
            os.kill(pid, signal.SIGSTOP)

    server.then = (MIDDLE, stop)
    said = _run(tmp_path, server, WANDB_INIT_TIMEOUT="1", WANDB_FINISH_TIMEOUT="1")
    for pid in stuck:
        os.kill(pid, signal.SIGKILL)
    assert len(stuck) == 1
    _check_told(tmp_path, said)
    _report(tmp_path, server)
    _check_whole(tmp_path, server)


def _services_of(server: WandbServer) -> list[int]:
    """W&B's own processes that send there."""
    at = f"WANDB_BASE_URL={server.environment['WANDB_BASE_URL']}\0".encode()
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if (process / "comm").read_text() == "wandb-core\n" and at in (process / "environ").read_bytes():
                pids.append(int(process.name))
    return pids


def _check_told(folder: Path, said: str) -> None:
    (line,) = [line for line in said.splitlines() if line.startswith("warning   tracking: ")]
    assert line.endswith(f"; the study goes on without it; catch up by: lab study report {folder / 'run'} --to wandb")
    assert (folder / "run" / "refit.json").exists()
    assert [one for one in said.splitlines() if "wandb" in one.lower() and not one.startswith("tracking  ")] == [line]
