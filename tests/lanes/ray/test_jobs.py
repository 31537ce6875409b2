"""Studies sent to a cluster: packed, run, stopped, fetched."""

from __future__ import annotations

import contextlib
import io
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import EngineError, SpecError
from lab.lanes.ray import code_transfer, jobs
from lab.lanes.ray.jobs import ClusterJobs, pack_spec, unpack_study, write_study
from lab.record.folder import Record
from lab.record.spec_file import read_spec
from lab.record.trials import read_trials
from lab.spec.plan import TaskRef
from lab.study.study import Study
from lab.tasks.load import load_task
from tests.lanes.ray.clusters import Head, head
from tests.small import lab, small, write_yaml

TASK = """
import time
from types import MappingProxyType
from helper import SCALE, SLOW
from lab.tasks.task import accuracy
from lab.tasks.digits import Digits

def unhurried(output, target):
    if SLOW.exists():
        time.sleep(0.15)
    return accuracy(output, target)

class Mine(Digits):
    metrics = MappingProxyType({"accuracy": unhurried})

    def loss(self, output, target):
        return super().loss(output, target) * SCALE
"""
EPOCHS = 16


@pytest.fixture
def spec_path(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    helper = f"from pathlib import Path\nSCALE = 1.0\nSLOW = Path({str(tmp_path / 'slow')!r})\n"
    (folder / "helper.py").write_text(helper)
    space = {"max_lr": {"low": 0.001, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}}
    search = {"sampler": {"kind": "random"}, "trials": 8, "epochs": 3}
    value = small(task="task.py:Mine", space=space, search=search)
    return write_yaml(folder / "study.yaml", {**value, "execution": {"width": 2, "path": "stacked"}})


def test_a_packed_spec_finds_its_task_wherever_it_is_unpacked(spec_path: Path, tmp_path: Path) -> None:
    spec = read_spec(spec_path)
    packed = tmp_path / "elsewhere" / "work"
    again = read_spec(packed / pack_spec(spec, packed))
    assert again.task.kind == "task/task.py:Mine"
    assert again.what() | {"task": None} == spec.what() | {"task": None}
    assert sorted(p.name for p in (packed / "task").iterdir()) == ["helper.py", "task.py"]
    assert type(load_task(again.task)).__name__ == "Mine"


def test_a_shipped_task_has_the_same_name_where_it_arrives(
    spec_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = read_spec(spec_path).task
    module = code_transfer.pack(task, tmp_path / "a")
    assert module is not None
    monkeypatch.syspath_prepend(str(module.parent))
    here = code_transfer.arrived(task, module.name)
    assert (here.kind, here.root) == ("task.py:Mine", str(module))
    again = code_transfer.pack(here, tmp_path / "b")
    assert again is not None
    assert again.name == module.name
    assert code_transfer.arrived(task, "lab_task_files_0") == task, "a node that has the file itself"
    assert code_transfer.pack(TaskRef("digits"), tmp_path) is None


def test_a_folder_of_huge_files_is_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "task.py").write_text("x = 1\n" * 100)
    monkeypatch.setattr(code_transfer, "_LIMIT_BYTES", 100)
    with pytest.raises(SpecError, match="give the task its own folder"):
        code_transfer.sources(TaskRef("task.py:T", {}, str(tmp_path)))


def test_a_study_comes_out_of_a_log_as_it_went_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study"
    files = {"study.yaml": b"name: x", "final/a.safetensors": bytes(range(256)) * 50}
    for name, content in {**files, "lanes/state": b"large", ".driver.lock": b"x"}.items():
        path = study / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_study(study)
    log = "a line of Ray's\n" + capsys.readouterr().out + "\nanother\n"
    assert unpack_study(log, tmp_path / "to") == 2
    assert {n: (tmp_path / "to" / n).read_bytes() for n in files} == files
    for cut in ("", log[: len(log) // 2], log.replace("\n", "", 8), log.replace("A", "B", 1)):
        with pytest.raises(EngineError, match="cut off or changed"):
            unpack_study(cut, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_folder_that_leaves_its_place_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("../outside")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    import base64
    import hashlib

    content = stream.getvalue()
    text = base64.encodebytes(content).decode()
    log = f"{jobs._BEGIN}\n{hashlib.sha256(content).hexdigest()}\n{text}{jobs._END}\n"
    with pytest.raises(EngineError, match="no file inside it"):
        unpack_study(log, tmp_path / "to")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "http://", "auto"])
def test_an_address_of_another_kind_is_refused(address: str, spec_path: Path) -> None:
    done = lab("cluster", "submit", spec_path, "--address", address)
    assert done.returncode == 2
    assert done.stderr.startswith("lab: --address: ")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Head]:
    """On a machine where the usual port of the agent that takes jobs is another's."""
    pytest.importorskip("aiohttp", reason="Ray's job server is not installed (ray[default])")
    with socket.socket() as usual:
        with contextlib.suppress(OSError):  # held by a Ray of another test: the same
            usual.bind(("127.0.0.1", 52365))
            usual.listen()
        with head(cpus=2) as started:
            yield started


def _status_of(job: str, *at: str, **env: str) -> str:
    """What is known of a job that does not come along."""
    status = lab("cluster", "status", job, *at, **env)
    return status.stdout + status.stderr


def _curves(folder: Path) -> dict[int, Any]:
    return {r.number: (r.params, r.score, r.curve) for r in read_trials(Record(folder), "explore")}


@pytest.mark.slow
def test_a_job_is_sent_stopped_sent_again_and_fetched(cluster: Head, spec_path: Path, tmp_path: Path) -> None:
    at, env = ["--address", cluster.jobs], cluster.env
    there, longer = tmp_path / "on the cluster", ["--set", f"search.epochs={EPOCHS}", "--until", "explore"]
    send = ["cluster", "submit", spec_path, *at, "--dir", str(there), "--lanes", "1", *longer]
    (tmp_path / "slow").touch()  # so that there is something left to stop
    detached = lab(*send, "--detach", **env)
    assert detached.returncode == 0, detached.stderr
    first = detached.stdout.strip()
    deadline = time.monotonic() + 240
    while not any(row.curve for row in read_trials(Record(there), "explore")):
        assert time.monotonic() < deadline, _status_of(first, *at, **env)
        time.sleep(0.1)
    stopped = lab("cluster", "stop", first, *at, **env)
    assert stopped.stdout.strip() == f"{first}  stopped", stopped.stderr
    before = _curves(there)
    assert any(len(curve) < EPOCHS for _, _, curve in before.values())

    (tmp_path / "slow").unlink()
    sent = lab(*send, **env)
    assert sent.returncode == 0, sent.stderr + sent.stdout
    job = sent.stdout.splitlines()[0]
    assert "explore" in sent.stdout
    listed = lab("cluster", "status", *at, **env).stdout
    assert f"{first}  stopped" in listed
    assert f"{job}  succeeded" in listed
    fetched = lab("cluster", "fetch", job, *at, "--to", tmp_path / "here", **env)
    assert fetched.returncode == 0, fetched.stderr
    after = _curves(tmp_path / "here")
    assert all(after[n][2].items() >= curve.items() for n, (_, _, curve) in before.items())
    spec = read_spec(spec_path, {"search.epochs": EPOCHS})
    Study.from_spec(spec, tmp_path / "local").run(engine="local", until="explore")
    assert after == _curves(tmp_path / "local")

    refused = lab("cluster", "status", *at, **{**env, "RAY_AUTH_TOKEN": "another-token-0123456789012345678"})
    assert refused.returncode == 2
    assert refused.stderr.startswith("lab: the cluster at http://127.0.0.1")


@pytest.mark.slow
def test_a_driver_outside_the_cluster_joins_it(cluster: Head, spec_path: Path, tmp_path: Path) -> None:
    at = ["--address", cluster.client, "--until", "explore"]
    done = lab("study", "run", spec_path, "--dir", tmp_path / "run", *at, **cluster.env)
    assert done.returncode == 0, done.stderr
    Study.from_spec(read_spec(spec_path), tmp_path / "local").run(engine="local", until="explore")
    assert _curves(tmp_path / "run") == _curves(tmp_path / "local")


def test_a_head_that_has_just_started_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Exception] = [RuntimeError("status code 500: No available agent to submit job"), RuntimeError("no")]

    class Client:
        def submit_job(self, **job: Any) -> str:
            raise answers.pop(0)

    server = ClusterJobs.__new__(ClusterJobs)
    monkeypatch.setattr(server, "_client", Client(), raising=False)
    monkeypatch.setattr(server, "_address", "http://head", raising=False)
    with pytest.raises(EngineError, match=r"RuntimeError: no$"):
        server._send(entrypoint="x")
    assert not answers


def test_a_head_without_an_agent_says_what_may_keep_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def submit_job(self, **job: Any) -> str:
            raise RuntimeError("status code 500: No available agent to submit job")

    server = ClusterJobs.__new__(ClusterJobs)
    monkeypatch.setattr(server, "_client", Client(), raising=False)
    monkeypatch.setattr(server, "_address", "http://head", raising=False)
    monkeypatch.setattr(jobs, "_WAIT_S", 0.0)
    with pytest.raises(EngineError, match=r"No available agent .*52365.*--dashboard-agent-listen-port=0"):
        server._send(entrypoint="x")


def test_a_job_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="Ray's job server is not installed (ray[default])")
    with pytest.raises(EngineError, match=r"^the cluster at http://127.0.0.1:9: "):
        ClusterJobs("http://127.0.0.1:9")
