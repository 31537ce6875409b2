"""Studies as jobs of a Ray cluster: sent, watched, stopped and fetched over HTTP, from a machine outside it.

It needs the job server's client (`lab[cluster]`), and no lanes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import shlex
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab.errors import EngineError, Interrupted, install_extra
from lab.lanes.ray import code_transfer
from lab.record.folder import write_bytes
from lab.record.spec_file import dump_spec
from lab.spec.study import StudySpec
from lab.training.arithmetic import inherited

_POLL_S = 1.0
_WAIT_S = 60.0
_NOT_YET = "No available agent"
"""Part of the answer of Ray's job server until the agent of its node is up."""
_NO_AGENT = (
    f"(none came within {_WAIT_S:.0f} s: another Ray on the head's machine may hold the agent's port, 52365; give this "
    "one its own with `ray start --head --dashboard-agent-listen-port=0`)"
)
_STOP_WAIT_S = 20
"""Seconds that a stopped job may take to save before Ray kills it. A study needs 10 s at most."""
_BEGIN, _END = "-----BEGIN LAB STUDY-----", "-----END LAB STUDY-----"
_LEFT_BEHIND = ("lanes",)
"""Folders of a study that only its driver needs."""


@dataclass(frozen=True)
class JobState:
    """The state of a job."""

    job: str
    status: str
    message: str

    @property
    def ended(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED", "STOPPED")


def default_folder(spec: StudySpec) -> str:
    """The default folder of a study on the cluster's head. A shell expands it there."""
    return f"~/lab-runs/{spec.name}"


class ClusterJobs:
    """The job server of a cluster.

    Args:
        address: `http://HEAD:8265`. A token is taken as Ray takes it: `RAY_AUTH_MODE=token` and `RAY_AUTH_TOKEN`.

    Raises:
        EngineError: the client is not installed, or the server cannot be reached or refuses.
    """

    def __init__(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(f"--address: {address!r} is not of the form http://HEAD:8265")
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise EngineError(f"Ray's job client is not installed ({error}); {install_extra('cluster')}") from error
        self._address = address
        self._host = parts.hostname
        self._client = self._asked(lambda: JobSubmissionClient(address))

    def _asked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # the client raises RuntimeError, ConnectionError and those of requests
            said = " ".join(str(error).split())[:300]
            raise EngineError(f"the cluster at {self._address}: {type(error).__name__}: {said}") from error

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about a cluster that asks for no token."""
        loopback = self._host == "localhost" or self._host.startswith("127.") or self._host == "::1"
        if loopback or os.environ.get("RAY_AUTH_MODE") == "token":
            return ()
        return ("warning: this cluster asks for no token, and whoever reaches it can run code; see cluster/README.md",)

    def submit(self, spec: StudySpec, flags: Sequence[str] = (), folder: str | None = None) -> str:
        """Send a study: its spec, the user's task file with its neighbours, and this package; the job's id."""
        with tempfile.TemporaryDirectory(prefix="lab-submit-") as scratch:
            work = Path(scratch) / "work"
            sent = pack_spec(spec, work)
            module = code_transfer.pack(spec.task, Path(scratch))
            modules = [code_transfer.lab_folder(), *([module] if module else [])]
            environment = {
                "working_dir": str(work),
                "py_modules": [str(path) for path in modules],
                "excludes": ["**/__pycache__"],
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WAIT_S), "PYTHONUNBUFFERED": "1", **inherited()},
            }
            where = _quoted_folder(folder or default_folder(spec))
            arguments = " ".join(shlex.quote(flag) for flag in flags)
            command = f"python -m lab study run {sent} --address auto --dir {where} {arguments}".strip()
            name = f"lab-{spec.name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"
            metadata = {"study": spec.name, "folder": folder or default_folder(spec)}
            self._send(entrypoint=command, submission_id=name, runtime_env=environment, metadata=metadata)
            return name

    def _send(self, **job: Any) -> str:
        """Submit a job; a head that has just started answers for a while before it can take one."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                return str(self._asked(lambda: self._client.submit_job(**job)))
            except EngineError as error:
                if _NOT_YET not in str(error):
                    raise
                if time.monotonic() > deadline:
                    raise EngineError(f"{error} {_NO_AGENT}") from error
            time.sleep(_POLL_S)

    def state(self, job: str) -> JobState:
        info = self._asked(lambda: self._client.get_job_info(job))
        return JobState(job, str(info.status.value), " ".join((info.message or "").split()))

    def folder(self, job: str) -> str:
        """The folder of a job's study on the cluster's head."""
        metadata = self._asked(lambda: self._client.get_job_info(job)).metadata or {}
        if "folder" not in metadata:
            raise EngineError(f"job {job} is no study of lab's")
        return str(metadata["folder"])

    def jobs(self) -> list[JobState]:
        """All studies sent to this cluster, oldest first."""
        infos = self._asked(self._client.list_jobs)
        ours = [info for info in infos if info.submission_id and "study" in (info.metadata or {})]
        ours.sort(key=lambda info: info.start_time or 0)
        return [JobState(i.submission_id, str(i.status.value), " ".join((i.message or "").split())) for i in ours]

    def logs(self, job: str) -> str:
        return str(self._asked(lambda: self._client.get_job_logs(job)))

    def follow(self, job: str) -> Iterator[str]:
        """The job's log as it grows, until the job ends.

        Raises:
            EngineError: it failed.
            Interrupted: it was stopped.
        """
        seen = 0
        while True:
            state = self.state(job)  # before the log, so that the last of it is not missed
            log = self.logs(job)
            if len(log) > seen:
                yield log[seen:]
                seen = len(log)
            if state.ended:
                break
            time.sleep(_POLL_S)
        if state.status == "STOPPED":
            raise Interrupted(f"job {job} was stopped; submit the study again to go on with it")
        if state.status == "FAILED":
            raise EngineError(f"job {job} failed: {state.message}")

    def stop(self, job: str) -> JobState:
        """Ask a job to save and end, and wait until it has."""
        self._asked(lambda: self._client.stop_job(job))
        deadline = time.monotonic() + _STOP_WAIT_S + 10
        while not (state := self.state(job)).ended and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return state

    def fetch(self, job: str, to: Path) -> int:
        """Copy a study's folder, without its lanes' checkpoints, from the cluster's head; the number of files.

        The job server hands out logs and no files, so a second job writes the folder, as text, into its log.

        Raises:
            EngineError: there is no such folder there, or it arrived damaged.
        """
        command = f"python -m lab cluster pack {_quoted_folder(self.folder(job))}"
        environment = {"py_modules": [str(code_transfer.lab_folder())], "excludes": ["**/__pycache__"]}
        packing = self._send(entrypoint=command, runtime_env=environment)
        while not (state := self.state(packing)).ended:
            time.sleep(_POLL_S / 4)
        log = self.logs(packing)
        self._asked(lambda: self._client.delete_job(packing))
        if state.status != "SUCCEEDED":
            said = log.strip().splitlines()
            raise EngineError(f"job {job}: its folder cannot be fetched ({said[-1] if said else state.message})")
        return unpack_study(log, to)


def _quoted_folder(folder: str) -> str:
    """A path for a shell that expands a leading `~/` and nothing else."""
    return f'"$HOME"/{shlex.quote(folder[2:])}' if folder.startswith("~/") else shlex.quote(folder)


def pack_spec(spec: StudySpec, folder: Path) -> str:
    """Write a spec, and its task's files beside it, so that both can be read anywhere; the spec's name there."""
    files = code_transfer.sources(spec.task)
    for name, content in files.items():
        write_bytes(folder / "task" / name, content)
    path = code_transfer.task_file(spec.task)
    if path is not None:
        kind = f"task/{path.name}:{spec.task.kind.rpartition(':')[2]}"
        spec = spec.model_copy(update={"task": replace(spec.task, kind=kind, root=".")})
    write_bytes(folder / "study.yaml", dump_spec(spec).encode())
    return "study.yaml"


def write_study(folder: Path) -> None:
    """Write a study's folder to standard output as text, for `ClusterJobs.fetch`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and name.parts[0] not in _LEFT_BEHIND and not name.name.startswith("."):
                archive.add(path, str(name), recursive=False)
    content = stream.getvalue()
    out = sys.stdout
    out.write(f"\n{_BEGIN}\n{hashlib.sha256(content).hexdigest()}\n")
    out.write(base64.encodebytes(content).decode())
    out.write(f"{_END}\n")


def unpack_study(log: str, to: Path) -> int:
    """Write the folder that `write_study` wrote into a log; the number of files.

    Raises:
        EngineError: it is not there, cut off or changed, or would leave `to`.
    """
    _, _, rest = log.partition(f"{_BEGIN}\n")
    body, end, _ = rest.partition(_END)
    digest, _, text = body.partition("\n")
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        content = b""
    if not end or hashlib.sha256(content).hexdigest() != digest:
        raise EngineError("the study's folder arrived cut off or changed; fetch it again")
    count = 0
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            path = (to / member.name).resolve()
            file = archive.extractfile(member)
            if file is None or not path.is_relative_to(to.resolve()):
                raise EngineError(f"the study's folder holds {member.name!r}, which is no file inside it")
            write_bytes(path, file.read())
            count += 1
    return count
