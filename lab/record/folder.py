"""The study folder: where everything a study leaves behind stands, written atomically and read defensively."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lab.errors import RecordError
from lab.spec.folder_names import DATA, FINAL, REFIT, SECOND, TASK_FILE, artefact_file

UNFINISHED = ".part"
"""The ending of a file that is being written, and that a kill leaves half-written."""
_STALE_S = 60.0
"""Seconds after which nobody writes an unfinished file any more. A killed driver's lanes may live on for a moment."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a kill, meets the old content or the new, never a part.

    Raises:
        RecordError: the disk is full or read-only; the old content still stands.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp's 0600 would keep a team from reading the study
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        advice = "; make room, then resume" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) else ""
        raise RecordError(f"{path}: cannot be written ({error.strerror}){advice}") from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically; NaN and infinities become null, since JSON has none."""
    write_bytes(path, (json.dumps(json_form(value), indent=1, allow_nan=False) + "\n").encode())


def json_form(value: Any) -> Any:
    """A value as a file has it: lists and text keys, no numpy, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(k): json_form(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_form(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if hasattr(value, "tolist"):
        return json_form(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


_MOST_JSON_BYTES = 2**28


def read_bytes(path: Path, most_bytes: int | None = None) -> bytes:
    """A file's bytes; nothing is waited for where it is no file.

    Raises:
        OSError: it cannot be read, is a device, a pipe or a folder, or is larger than `most_bytes`.
    """
    with open_to_read(path) as file:
        if most_bytes is not None and os.fstat(file.fileno()).st_size > most_bytes:
            raise OSError(errno.EFBIG, f"Is larger than {most_bytes >> 20} MiB", str(path))
        return file.read()


def open_to_read(path: Path) -> BinaryIO:
    """A file, opened; nothing is waited for where it is none.

    Raises:
        OSError: it cannot be read, or is a device, a pipe or a folder.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "Is no regular file", str(path))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; `RecordError` in one line where it is anything else."""
    try:
        value = json.loads(read_bytes(path, _MOST_JSON_BYTES))
    except FileNotFoundError:
        raise RecordError(f"{path}: does not exist") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise RecordError(f"{path}: cannot be read ({error})") from error
    except RecursionError as error:
        raise RecordError(f"{path}: cannot be read (it is nested too deep)") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: holds no JSON object")
    return value


@contextmanager
def locked(path: Path, holder: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file; the kernel frees it when this process ends, however it ends.

    Raises:
        RecordError: another process holds it after `wait_s`, named with the time since when.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link is not followed, and a fifo not waited for.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise RecordError(f"{path}: is a link, and no lock; delete it") from None
        raise RecordError(f"{path.parent}: cannot be written to ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RecordError(f"{path}: is no file, and so no lock; delete it")
    with os.fdopen(handle, "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise RecordError(f"{path.parent}: in use by {file.read().strip() or 'another process'}") from None
                time.sleep(0.05)
            except OSError as error:  # ENOLCK, EOPNOTSUPP: a network file system without its lock service
                reason = (
                    f"its file system has no locks ({error.strerror}), which keep two processes from writing at once"
                )
                raise RecordError(
                    f"{path.parent}: {reason}; choose a folder on another, or mount it with them"
                ) from error
        file.truncate(0)
        host = socket.gethostname()
        file.write(f"{holder}, process {os.getpid()} on {host}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


class Record:
    """A study's folder and the names in it."""

    SPEC = "study.yaml"
    JOURNAL = "ledger.journal"
    TRIALS = "trials.parquet"
    REPORT = "report.html"
    EXTENSION = "extension.json"
    LOCK = ".driver.lock"
    TRUST = ".trust.json"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def spec_path(self) -> Path:
        return self.folder / self.SPEC

    @property
    def journal_path(self) -> Path:
        return self.folder / self.JOURNAL

    @property
    def extension_path(self) -> Path:
        """Stands while the study is being extended, and after an extension that was interrupted."""
        return self.folder / self.EXTENSION

    @property
    def final_folder(self) -> Path:
        return self.folder / FINAL

    @property
    def refit_folder(self) -> Path:
        return self.folder / REFIT

    @property
    def second_folder(self) -> Path:
        """The folder of what a second round has trained."""
        return self.folder / SECOND

    @property
    def weight_folders(self) -> tuple[Path, ...]:
        """The folders of weights, whether they are there or not."""
        return self.final_folder, self.refit_folder, self.second_folder

    @property
    def lanes_folder(self) -> Path:
        """The folder of what lanes save while a stage runs."""
        return self.folder / "lanes"

    @property
    def data_folder(self) -> Path:
        """The folder in which a task keeps what is costly to read again. It may be deleted at any time."""
        return self.folder / DATA

    @property
    def task_path(self) -> Path:
        return self.folder / TASK_FILE

    def task(self) -> dict[str, Any] | None:
        """The task's description of its data and what it learned from them; None where they have not been read yet."""
        if not self.task_path.exists():
            return None
        content = read_json(self.task_path)
        for key in ("fitted", "data", "facts", "warnings"):
            if key not in content:
                raise RecordError(f"{self.task_path}: lacks {key}; restore it from a copy")
        return content

    def exists(self) -> bool:
        return self.spec_path.is_file()

    @property
    def begun(self) -> bool:
        """Whether anything was trained: until then, a spec that proved wrong may be put right."""
        begun = (self.journal_path, self.artefact_path("explore"), self.extension_path)
        return any(path.exists() for path in begun)

    def only_begun(self) -> bool:
        """Whether the folder holds nothing but what a study leaves that was killed before its spec was written."""
        # The lock, whose the study is, and a spec that was half-written.
        beginnings = (self.LOCK, self.TRUST, f".{self.TRUST}.", f".{self.SPEC}.")
        return all(path.name.startswith(beginnings) for path in self.folder.iterdir())

    def require(self) -> Record:
        """This record, if its folder holds a study."""
        if not self.folder.is_dir():
            raise RecordError(f"{self.folder}: is not a folder")
        if not self.exists():
            raise RecordError(f"{self.folder}: holds no study ({self.SPEC} is missing)")
        return self

    def artefact_path(self, name: str) -> Path:
        return self.folder / artefact_file(name)

    def artefact(self, name: str) -> dict[str, Any] | None:
        """What lies there as it stands; None where nothing does. Its stage reads it as what it is."""
        path = self.artefact_path(name)
        return read_json(path) if path.exists() else None

    @contextmanager
    def driver_lock(self, wait_s: float = 0.0) -> Iterator[None]:
        """Only one driver works on a study at a time. What a killed one left half-written is deleted."""
        with locked(self.folder / self.LOCK, "lab study", wait_s):
            self._sweep()
            yield

    def last_driver(self) -> tuple[str, int] | None:
        """Host and process of who works on the study, or was the last to; None where nobody has said so.

        The lock is not tried: whoever begins just then would find it held.
        """
        try:
            said = read_bytes(self.folder / self.LOCK, 1000).decode(errors="replace")
        except (RecordError, OSError):
            return None
        said_so = re.search(r"process (\d{1,9}) on (\S+), since", said)
        return (said_so[2], int(said_so[1])) if said_so else None

    def _sweep(self) -> None:
        written = (self.folder, self.lanes_folder, *self.weight_folders, self.data_folder)
        for path in (path for folder in written for path in folder.glob(f"*{UNFINISHED}")):
            with contextlib.suppress(OSError):  # it is finished just now, or another user's
                if time.time() - path.lstat().st_mtime > _STALE_S:
                    path.unlink()


def records_in(folder: Path) -> list[Record]:
    """The studies that lie in a folder, by name; those that may not be looked into are left out.

    Raises:
        RecordError: it cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise RecordError(f"{folder}: cannot be read ({error.strerror})") from error
    return [Record(path) for path in paths if os.access(path, os.X_OK) and Record(path).exists()]
