"""A process that does what the first process of its lane does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle

from lab.training.data_parallel.peers import Parted, Peers
from lab.training.device import DeviceLost
from lab.training.failure import describe_error
from lab.training.interface import Trainer
from lab.training.memory import out_of_memory


@dataclass(frozen=True)
class Begin:
    """What a follower is started with."""

    rank: int
    size: int
    meeting: Path
    sharded: bool
    make: bytes
    """What makes the trainer from its peers, pickled."""
    before: Callable[[], object] | None
    """What is called before that can be unpickled: it loads a user's file, whose module has no name to import."""


@dataclass(frozen=True)
class Ready:
    """What it answers: when it has come up, and when it has its trainer."""

    error: str | None = None
    is_memory: bool = False


def follow(connection: Connection) -> None:
    """Make the trainer, say so, and call its methods as they come; until nobody calls any more, or this process has
    parted from the others."""
    begin: Begin = cloudpickle.loads(connection.recv_bytes())  # by the process that has started this one
    connection.send(Ready())
    try:
        if begin.before is not None:
            begin.before()
        make: Callable[[Peers], Trainer] = cloudpickle.loads(begin.make)
        trainer = make(Peers(begin.rank, begin.size, begin.meeting, begin.sharded))
    except Exception as error:
        connection.send(Ready(describe_error(error), out_of_memory(error)))
        return
    connection.send(Ready())
    with contextlib.suppress(EOFError, ConnectionError, DeviceLost):  # the lane is over
        while True:
            method, arguments = cloudpickle.loads(connection.recv_bytes())
            try:
                _call(trainer, method, arguments)
            except Parted as parted:
                connection.send(parted)
                raise


def _call(trainer: Trainer, method: str, arguments: tuple[Any, ...]) -> None:
    try:
        getattr(trainer, method)(*arguments)
    except DeviceLost:
        raise
    except (Exception, SystemExit):
        return  # the first process has raised it as well, and says it


def main() -> None:
    """Follow whoever has started this process, at the other end of the pipe that its argument names."""
    follow(Connection(int(sys.argv[1])))
