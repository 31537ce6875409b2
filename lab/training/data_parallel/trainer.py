"""A trainer that is several: the lane's own, and one in each of its followers, which do the same on their shares."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch import Tensor

from lab.errors import TaskError
from lab.spec.exchange import Assignment
from lab.training.data_parallel.follower import Begin, Ready, main
from lab.training.data_parallel.peers import DIED, Parted, Peers
from lab.training.device import DeviceLost
from lab.training.interface import EpochResult, Trainer

_SLOT = 0
"""The only one."""
_END_WITHIN_S = 5.0
_PROGRAM = f"from {main.__module__} import main; main()"
"""Not `-m`: what it sends would be of a module `__main__`, which is another one here."""


class DataParallelTrainer(Trainer):
    """Trains one trial at a time in this process and in others, of which each has its share of every batch.

    Args:
        size: how many processes there are, this one among them.
        make: a trainer of one slot that averages its gradients with its peers'.
        before: is called in each follower first, so that `make` can be unpickled there.
        sharded: whether each process has a share of the model. Then what ends a trial in one of them ends all of them,
            and the next trial begins with others.

    Raises:
        DeviceLost: a follower has died.
        Exception: what `make` raises.
    """

    width = 1

    def __init__(
        self,
        size: int,
        make: Callable[[Peers], Trainer],
        before: Callable[[], object] | None = None,
        sharded: bool = False,
    ) -> None:
        self._size, self._make, self._before, self._sharded = size, make, before, sharded
        self._costs: Mapping[str, float] = {}
        self._open()

    def _open(self) -> None:
        """Start the others, meet them, and make the trainer in all."""
        size, sharded = self._size, self._sharded
        folder = tempfile.mkdtemp(prefix="lab-peers-")
        processes: list[subprocess.Popen[bytes]] = []
        self._followers: list[Connection] = []
        parting: list[Callable[[], None]] = []
        self._close = weakref.finalize(self, _close, processes, self._followers, parting, folder)
        meeting = Path(folder) / "meeting"
        packed = cloudpickle.dumps(self._make)
        try:
            for rank in range(1, size):
                process, connection = _started()
                processes.append(process)
                self._followers.append(connection)
                self._send(connection, Begin(rank, size, meeting, sharded, packed, self._before))
            self._wait()  # else one that cannot even begin would be waited for at the meeting
            peers = Peers(0, size, meeting, sharded)
            parting.append(peers.leave)
            self._trainer = self._make(peers)
            self._wait()
            shutil.rmtree(folder, ignore_errors=True)  # they have met; a killed process would leave it
        except BaseException:
            self._close()
            raise

    def start(self, assignment: Assignment) -> None:
        if not self._close.alive:
            self._open()
        self._tell("start", assignment)
        self._trainer.start(assignment)
        self._costs = self._trainer.costs(assignment.slot)

    def stop(self, slot: int) -> None:
        if self._close.alive:
            self._tell("stop", slot)
            self._trainer.stop(slot)

    def epoch(self) -> tuple[EpochResult, ...]:
        self._tell("epoch")
        try:
            return self._trainer.epoch()
        except Parted as parted:
            reason = parted if parted.fault is not None else self._heard()
            self._close()  # those that wait for this process learn by it that nobody comes
            del self._trainer  # before the next one asks for memory
        if reason is None or reason.fault is None:
            raise DeviceLost(DIED)
        if reason.is_memory:
            raise torch.OutOfMemoryError(reason.fault.detail)
        return (EpochResult(_SLOT, {}, reason.fault.outcome, reason.fault.detail),)

    def _heard(self) -> Parted | None:
        """What one of the others says of its end, where it is one's own."""
        for connection in wait(self._followers, _END_WITHIN_S):
            assert isinstance(connection, Connection)
            with suppress(EOFError, OSError):
                parted: Parted = connection.recv()
                if parted.fault is not None:
                    return parted
        return None

    def costs(self, slot: int) -> Mapping[str, float]:
        return self._costs

    def save(self, slot: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if self._sharded:
            self._tell("save", slot)
        return self._trainer.save(slot)

    def restore(self, assignment: Assignment, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        if not self._close.alive:
            self._open()
        self._tell("restore", assignment, dict(tensors), dict(meta))
        self._trainer.restore(assignment, tensors, meta)
        self._costs = self._trainer.costs(assignment.slot)

    def _tell(self, method: str, *arguments: Any) -> None:
        for connection in self._followers:
            self._send(connection, (method, arguments))

    def _send(self, connection: Connection, value: object) -> None:
        try:
            # Not the pipe's own `send`, which would share a tensor's memory, or try to.
            connection.send_bytes(cloudpickle.dumps(value))
        except OSError:
            raise DeviceLost(DIED) from None

    def _wait(self) -> None:
        """Until all followers have come as far."""
        for connection in self._followers:
            try:
                ready: Ready = connection.recv()
            except (EOFError, OSError):
                raise DeviceLost(DIED) from None
            if ready.error is not None:
                raise torch.OutOfMemoryError(ready.error) if ready.is_memory else TaskError(ready.error)


def _started() -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = Pipe()
    # A process of its own, and no fork: a GPU is in use here, and a user's script would run anew in a spawned one.
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the first process's matter, which stops all of them
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    theirs.close()
    return process, ours


def _close(
    processes: Sequence[subprocess.Popen[bytes]],
    followers: Sequence[Connection],
    parting: Sequence[Callable[[], None]],
    folder: str,
) -> None:
    for connection in followers:
        connection.close()
    for part in parting:
        part()
    for process in processes:
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    shutil.rmtree(folder, ignore_errors=True)
