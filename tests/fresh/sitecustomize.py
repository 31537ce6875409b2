"""A lane's process is forked too, where lab or Ray starts it within a test, and so is the command line, or a
benchmark's cell, where another program starts it; see `tests/forked.py`.

Python runs this file before a program where its folder is on the path. A process that would import torch only to
train hands over what it is (arguments, environment, folder, open files) to the process that forks, and stands in for
the process that is forked: it ends as that one does, what asks it to stop asks that one, and that one is killed where
this one is.
"""

import os
import sys

_ADDRESS = "LAB_TESTS_FORK_AT"
_FOLLOWER = "from lab.training.data_parallel.follower import main"


def _arguments() -> list[str]:
    """What follows `python` where this is Ray's worker, or sets one up, or is a lane's follower, the command line or a
    benchmark's cell; else nothing."""
    command = sys.orig_argv
    program = command[1] if len(command) > 1 else ""
    if program.endswith("/bin/lab"):
        return ["-m", "lab", *command[2:]]
    if program.endswith("/studies/benchmarks/outcome.py") and "--cell" in command:
        return command[1:]
    if any(word.endswith("/ray/_private/workers/default_worker.py") for word in command):
        return command[next(at for at, word in enumerate(command) if word.endswith(".py")) :]
    if "-c" in command[:-1] and command[command.index("-c") + 1].startswith(_FOLLOWER):
        return command[command.index("-c") :]
    return []


def _stand_in(address: str, arguments: list[str]) -> None:
    import json
    import signal
    import socket

    handles = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib takes longer to import than all of this
        try:
            os.fstat(int(name))
        except OSError:  # that of the list itself
            continue
        handles.append(int(name))
    reading, writing = os.pipe()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**21)
    server.connect(address)
    request = {"arguments": arguments, "env": dict(os.environ), "cwd": os.getcwd()}  # noqa: PTH109 - as above
    request |= {"path": sys.path, "handles": handles, "nice": os.nice(0), "leads": os.getpgrp() == os.getpid()}
    socket.send_fds(server, [json.dumps(request).encode()], [writing, *handles])
    os.close(writing)
    for handle in handles:
        os.close(handle)  # what ends with the process that is forked must not wait for this one
    said = os.read(reading, 64)
    if said:
        process = int(said.split()[0])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(process, number))
    while part := os.read(reading, 64):
        said += part
    _, code = map(int, said.split()) if said.count(b"\n") == 2 else (0, 1)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if _ADDRESS in os.environ and (words := _arguments()):
    _stand_in(os.environ[_ADDRESS], words)
