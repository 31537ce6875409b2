"""Python processes that begin with the imports of lab behind them.

To import torch, scikit-learn and pandas takes seconds, and tests start hundreds of processes. So one process imports
them, computes nothing of a study, and forks. Each child has its own arguments, environment, folder, streams and process
id, and ends as one that a shell has started: by exit code, traceback or signal. It shares no state with another.

The processes of lanes, which Ray and lab start, are forked as well where a test asks for it, and with them the command
line where a script starts it: a hook that Python runs before them (`fresh/sitecustomize.py`) has them forked here, and
stands in for them.

What a process imports, or what libraries read while they are loaded (`OMP_NUM_THREADS`), needs a fresh interpreter;
Ray, which reads its settings so, is imported by each child for itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

_ROOT = Path(__file__).parent.parent
FRESH = str(Path(__file__).parent / "fresh")
_IMPORTED = (
    "fsspec",
    "jinja2",
    "jsonschema",
    "lab.cli.main",
    "lab.lanes.local",
    "lab.report.page",
    "lab.stages.explanation",
    "lab.study.estimate",
    "lab.study.extend",
    "lab.study.study",
    "lab.tasks.digits",
    "lab.tasks.images.task",
    "lab.tasks.table.task",
    "lab.training.data_parallel.sharded",
    "lab.training.data_parallel.trainer",
    "optuna.storages",
    "pandas",
    "plotly.graph_objects",
    "plotly.io",
    "pyarrow.fs",
    "pyarrow.parquet",
    "requests",
    "sklearn.datasets",
    "sklearn.ensemble",
    "sklearn.model_selection",
    "skops.io",
    "sqlalchemy",
    "torch",
    "wandb",
    "wandb.sdk.launch",
)
"""What most commands import sooner or later, what Ray imports that is not its own, and W&B, which takes two seconds."""
FORK_AT = "LAB_TESTS_FORK_AT"
_LONGEST = 2**20
"""Bytes of a request: arguments and environment."""
_FILES = 250
"""What the kernel passes in one message, or a little less."""


class Process:
    """A process that was forked; it is used as a `subprocess.Popen` whose streams are text."""

    def __init__(self, arguments: Sequence[str], status: IO[str], stdout: IO[str] | None) -> None:
        self.args = arguments
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self.pid = int(self._line())

    def _line(self) -> str:
        line = self._status.readline()
        if not line:
            raise RuntimeError("the process that forks has ended")
        return line

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._line())
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it has written to its end; it has ended then."""
        assert self.stdout is not None
        read: list[str] = []
        stream = self.stdout
        reader = threading.Thread(target=lambda: read.append(stream.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        stream.close()
        self.wait(timeout)
        return read[0], None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def start(arguments: Sequence[str], env: dict[str, str], cwd: Path | None = None) -> Process:
    """Start `python *arguments`; both streams of its output are its `stdout`."""
    outer, inner = os.pipe()
    try:
        return _fork(arguments, env, cwd, (inner, inner), os.fdopen(outer, "r"))
    finally:
        os.close(inner)


def run(
    arguments: Sequence[str], env: dict[str, str], cwd: Path | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run `python *arguments` to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = _fork(arguments, env, cwd, (out.fileno(), err.fileno()), None)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


def _fork(
    arguments: Sequence[str], env: dict[str, str], cwd: Path | None, streams: tuple[int, int], stdout: IO[str] | None
) -> Process:
    outer, inner = os.pipe()
    try:
        request = {"arguments": list(arguments), "env": env | lanes_forked(env), "cwd": str(cwd or Path.cwd())}
        request |= {"handles": [1, 2]}
        socket.send_fds(_server(), [json.dumps(request).encode()], [inner, *streams])
    finally:
        os.close(inner)
    return Process(arguments, os.fdopen(outer, "r"), stdout)


@functools.cache
def _address() -> str:
    """Where processes that no test has started ask to be forked."""
    return str(Path(tempfile.mkdtemp(prefix="lab-fork-")) / "at")


def lanes_forked(env: Mapping[str, str]) -> dict[str, str]:
    """Variables with which the processes of lanes are forked as well, where Ray or lab starts them."""
    _server()
    path = os.pathsep.join(filter(None, [FRESH, env.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, FORK_AT: _address()}


@functools.cache
def _server() -> socket.socket:
    """The connection to the process that forks; it ends with this one."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LONGEST)
    strangers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    strangers.bind(_address())
    strangers.listen(64)
    passed = [there.fileno(), strangers.fileno()]
    command = [sys.executable, "-m", "tests.forked", *map(str, passed)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=env, pass_fds=passed, **quiet)  # type: ignore[call-overload]
    there.close()
    strangers.close()

    def end() -> None:
        here.close()
        process.wait()
        shutil.rmtree(Path(_address()).parent, ignore_errors=True)

    atexit.register(end)
    return here


def _serve(owner: socket.socket, strangers: socket.socket) -> dict[str, Any] | None:
    """Fork at each request; returns it in the child, and nothing when its owner asks no more."""
    waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is for who asks
    children: dict[int, int] = {}
    standing_in: dict[socket.socket, int] = {}
    while True:
        ready = select.select([owner, waking, strangers, *standing_in], [], [])[0]
        if waking in ready:
            os.read(waking, 4096)
            for pid in list(children):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    _tell(children[pid], os.waitstatus_to_exitcode(status))
                    os.close(children.pop(pid))
        for connection in standing_in.keys() & set(ready):  # it says nothing more: it has ended
            pid = standing_in.pop(connection)
            connection.close()
            if pid in children:
                os.kill(pid, signal.SIGKILL)
        if strangers in ready:
            connection = strangers.accept()[0]
        elif owner in ready:
            connection = owner
        else:
            continue
        try:
            message, received, _, _ = socket.recv_fds(connection, _LONGEST, _FILES)
        except ConnectionError:
            message = b""
        if not message:
            if connection is owner:
                return None
            connection.close()  # killed as it began
            continue
        status_handle, *handles = received
        pid = os.fork()
        if pid:
            children[pid] = status_handle
            _tell(status_handle, pid)
            for handle in handles:
                os.close(handle)
            if connection is not owner:
                standing_in[connection] = pid
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in {owner, strangers, connection, *standing_in}:
            each.close()
        for handle in {waking, woken, status_handle, *children.values()}:
            os.close(handle)
        request: dict[str, Any] = json.loads(message)
        _renumber(handles, request.pop("handles"))
        return request


def _renumber(handles: list[int], numbers: list[int]) -> None:
    """Give open files the numbers that they have where they come from."""
    above = max([*handles, *numbers]) + 1
    for at, handle in enumerate(handles):
        os.dup2(handle, above + at)
        os.close(handle)
    for at, number in enumerate(numbers):
        os.dup2(above + at, number)
        os.close(above + at)


def _tell(handle: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it
        os.write(handle, f"{number}\n".encode())


def _become(
    arguments: list[str],
    env: dict[str, str],
    cwd: str,
    path: list[str] | None = None,
    nice: int = 0,
    leads: bool = False,
) -> None:
    """Do in this process what `python *arguments` does, at a niceness, perhaps as the first of a process group."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    os.nice(max(nice - os.nice(0), 0))
    if leads:
        os.setpgid(0, 0)
    if path is not None:
        sys.path[1:] = path
    what, *rest = arguments
    sys.path[0] = str(Path(what).resolve().parent) if what not in ("-m", "-c") else cwd
    if what == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = arguments
        try:
            with _exec_returned() if what.endswith("/setup_worker.py") else contextlib.nullcontext():
                runpy.run_path(what, run_name="__main__")
        except _Executed as executed:
            sys.argv = executed.arguments
            runpy.run_path(sys.argv[0], run_name="__main__")


class _OfWriter(tempfile.TemporaryDirectory[str]):
    """The folder for media that W&B makes when it is imported: made by the process that first writes to it, so that
    no process takes it away from others when it ends."""

    @functools.cached_property
    def name(self) -> str:  # type: ignore[override]
        self._made = tempfile.TemporaryDirectory("wandb-media")
        return self._made.name


class _Executed(BaseException):
    """What this process was about to become: a Python program."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments


@contextlib.contextmanager
def _exec_returned() -> Iterator[None]:
    """Ray's program that sets up a worker ends as the worker, by way of bash; it has imported Ray already."""
    real = os.execvp

    def execvp(file: str, args: list[str]) -> NoReturn:
        words = shlex.split(args[-1])
        if words[:2] == ["exec", sys.executable]:
            raise _Executed(words[2:])
        real(file, args)

    os.execvp = execvp  # type: ignore[assignment]
    try:
        yield
    finally:
        os.execvp = real


def _end(code: object) -> None:
    """End this process as `sys.exit(code)` does; its memory is not torn down object by object, which takes a second."""
    if not isinstance(code, int | None):
        sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    for name in _IMPORTED:
        importlib.import_module(name)
    importlib.import_module("lab.cli.main").command()
    sys.path.append(FRESH)
    # Plotly loads its parts, and a page its templates, when they are first used.
    importlib.import_module("lab.report.plots").blank("", "").to_json()
    templates = importlib.import_module("lab.report.page").templates()
    for name in templates.list_templates(extensions=["j2"]):
        templates.get_template(name)
    media = importlib.import_module("wandb.sdk.data_types._private").MEDIA_TMP
    media.cleanup()
    del media.name
    media.__class__ = _OfWriter
    # As in conftest: no still pictures, small forests, and no waiting for disks.
    importlib.import_module("lab.report.drawn").can_draw = lambda: False  # type: ignore[attr-defined]
    importlib.import_module("lab.tasks.table.baselines")._TREES = 20  # type: ignore[attr-defined]
    os.fsync = lambda fd: None
    gc.freeze()  # a child's collections leave alone, and need no copy of, what was imported
    if request := _serve(*(socket.socket(fileno=int(handle)) for handle in sys.argv[1:])):
        try:
            _become(**request)  # type: ignore[arg-type]
        except SystemExit as ended:
            _end(ended.code)
        except Exception:
            traceback.print_exc()
            _end(1)
        _end(0)
