"""The machines that `chaos.py` torments: a Ray head and workers as processes on this machine, with a token.

They lie on loopback addresses; as root and on request each worker has a network namespace of its own on a bridge, whose
cable can be pulled, and the study a file system of its own, which can be filled.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_DISK_MB = 64


def children(process: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                below.setdefault(parent, []).append(int(entry.name))
    processes, queue = [], [process]
    while queue:
        processes.append(queue.pop())
        queue += below.get(processes[-1], [])
    return processes


def send(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


@dataclass
class Node:
    address: str
    process: subprocess.Popen[bytes]


class Network:
    """Network namespaces on a bridge; the head is on this side of it. Needs root and iproute2."""

    def __init__(self, workers: int) -> None:
        self._bridge = f"lab{os.getpid() % 100_000}"
        self.head = "10.231.77.1"
        self.workers = [f"10.231.77.{i + 2}" for i in range(workers)]
        self._ip("link", "add", self._bridge, "type", "bridge")
        self._ip("addr", "add", f"{self.head}/24", "dev", self._bridge)
        self._ip("link", "set", self._bridge, "up")
        for i, address in enumerate(self.workers):
            space, cable = f"{self._bridge}n{i}", self._cable(i)
            self._ip("netns", "add", space)
            self._ip("link", "add", cable, "type", "veth", "peer", "name", "e0", "netns", space)
            self._ip("link", "set", cable, "master", self._bridge)
            self._ip("link", "set", cable, "up")
            self._ip("-n", space, "addr", "add", f"{address}/24", "dev", "e0")
            for device in ("e0", "lo"):
                self._ip("-n", space, "link", "set", device, "up")

    def _cable(self, worker: int) -> str:
        return f"{self._bridge}v{worker}"

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def inside(self, worker: int) -> list[str]:
        """What a command begins with to run in a worker's namespace."""
        return ["ip", "netns", "exec", f"{self._bridge}n{worker}"]

    def cut(self, worker: int) -> None:
        self._ip("link", "set", self._cable(worker), "down")

    def mend(self, worker: int) -> None:
        self._ip("link", "set", self._cable(worker), "up")

    def close(self) -> None:
        for i in range(len(self.workers)):
            self._ip("link", "del", self._cable(i))  # a namespace lives on while a process is in it
            self._ip("netns", "del", f"{self._bridge}n{i}")
        self._ip("link", "del", self._bridge)


class Disk:
    """A small file system for a study. Needs root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(folder)]
        subprocess.run(command, check=True)
        self._filler = folder / ".filler"

    def fill(self) -> None:
        """Leave no byte free; what is freed later is taken too, when this is called again."""
        with contextlib.suppress(OSError), open(self._filler, "ab", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"." * size):
                        pass

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


class Cluster:
    """A head without lanes, and workers with one lane each.

    Args:
        environment: variables for every process of it.
        orders: a folder to be made, through which lanes are told what shall happen to them.
        isolated: whether workers have network namespaces of their own.
    """

    def __init__(self, workers: int, environment: Mapping[str, str], orders: Path, isolated: bool) -> None:
        self._stack = contextlib.ExitStack()
        self._orders = orders
        orders.mkdir()
        self.network = Network(workers) if isolated else None
        if self.network:
            self._stack.callback(self.network.close)
        self._head_address = self.network.head if self.network else "127.0.0.1"
        addresses = self.network.workers if self.network else [f"127.0.0.{i + 2}" for i in range(workers)]
        with socket.socket() as free:
            free.bind((self._head_address, 0))
            self._port = free.getsockname()[1]
        self.address = f"{self._head_address}:{self._port}"
        health = {"period": "1000", "timeout": "3000", "initial_delay": "2000"}
        self.env = {
            **os.environ,
            **{f"RAY_health_check_{name}_ms": value for name, value in health.items()},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(24),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # else a lane that starts anew waits for whatever else this machine does
            "OMP_NUM_THREADS": "1",
            "CHAOS_ORDERS": str(orders),
            **environment,
        }
        self.head = self._start_head()
        self.workers = [self._start_worker(i, address) for i, address in enumerate(addresses)]

    def _start_head(self) -> Node:
        temp = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos", ignore_cleanup_errors=True))
        options = ["--head", f"--port={self._port}", f"--temp-dir={temp}", "--include-dashboard=false"]
        node = self._start([], self._head_address, options, 0)
        time.sleep(4)
        return node

    def _start_worker(self, worker: int, address: str) -> Node:
        inside = self.network.inside(worker) if self.network else []
        return self._start(inside, address, [f"--address={self.address}"], 1)

    def _start(self, inside: list[str], address: str, options: list[str], cpus: int) -> Node:
        common = [f"--node-ip-address={address}", f"--num-cpus={cpus}", "--object-store-memory=80000000"]
        command = [*inside, str(Path(sys.executable).parent / "ray"), "start", "--block", *options, *common]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=self.env, stdout=quiet, stderr=quiet, start_new_session=True)
        return Node(address, process)

    def order(self, process: int, what: str) -> None:
        """Let something happen inside a lane's next epoch; see `chaos_task.py`."""
        path = self._orders / f".{process}"
        path.write_text(what)
        path.rename(self._orders / str(process))

    def replace_dead(self) -> None:
        """Start a new node for each that has ended."""
        for i, node in enumerate(self.workers):
            if node.process.poll() is not None:
                send(children(node.process.pid), signal.SIGKILL)
                self.workers[i] = self._start_worker(i, node.address)

    def lose_head(self) -> None:
        """The head's machine is gone, and with it all that the cluster knew; a new one takes its place."""
        for node in (self.head, *self.workers):
            send(children(node.process.pid), signal.SIGKILL)
            node.process.wait()
        self.head = self._start_head()
        self.replace_dead()

    def close(self) -> None:
        for node in [*self.workers, self.head]:
            send(children(node.process.pid), signal.SIGKILL)
            node.process.wait()
        self._stack.close()


@contextlib.contextmanager
def disk(folder: Path, isolated: bool) -> Iterator[Disk | None]:
    """A file system of its own at `folder`, where that was asked for."""
    mounted = Disk(folder) if isolated else None
    try:
        yield mounted
    finally:
        if mounted:
            mounted.close()
