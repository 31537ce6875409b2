"""A Ray cluster for tests: real nodes on this machine, on loopback, that ask for a token."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import forked
from tests.small import environment

TOKEN = "a-token-for-tests-only-0123456789"


@dataclass(frozen=True)
class Head:
    gcs: str
    jobs: str
    """The job server's address."""
    client: str
    """The address for drivers outside the cluster."""
    env: dict[str, str]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ray_environment() -> dict[str, str]:
    """Its workers are fresh interpreters: what they import is what was sent to them."""
    bin_folder = str(Path(sys.executable).parent)
    fresh = {name: value for name, value in environment().items() if name != forked.FORK_AT}
    return fresh | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        # The head forks a process for each `ray://` driver, which gRPC's fork handlers can abort.
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "OMP_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def started(*arguments: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start --block`, ended with everything it has started and nothing else."""
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=env, start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def head(cpus: int) -> Iterator[Head]:
    """A head with its job server; up when this gives it."""
    env = ray_environment()
    port, dashboard, client = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="labray", ignore_cleanup_errors=True) as temp:
        options = [f"--port={port}", f"--dashboard-port={dashboard}", f"--temp-dir={temp}", f"--num-cpus={cpus}"]
        options += [f"--ray-client-server-port={client}", "--node-ip-address=127.0.0.1"]
        options += ["--dashboard-host=127.0.0.1", "--object-store-memory=100000000"]
        # The agent that takes jobs stays away, without a word, where another Ray of this machine holds its usual port.
        options += ["--dashboard-agent-listen-port=0"]
        with started("--head", *options, env=env) as process:
            cluster = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", f"ray://127.0.0.1:{client}", env)
            deadline = time.monotonic() + 90
            while not _answers(cluster.jobs):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the cluster did not start (exit status {process.poll()})")
                time.sleep(0.3)
            yield cluster


def _answers(address: str) -> bool:
    request = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
