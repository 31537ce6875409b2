"""Optuna's journal file, written by one process in transactions, so that a kill leaves no half of one.

Optuna writes one line per storage operation; asking for a trial takes several. Here every line of a transaction
but its last ends in a space before the newline (JSON readers, Optuna's own too, do not mind): "more follows".
An unfinished transaction that a kill leaves is therefore recognised, and cut off on opening.
One writer holds the folder's lock, so the per-line lock files of Optuna, which outlive a kill by 30 s, are not needed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Container, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from lab.errors import RecordError
from lab.record.folder import open_to_read

_MORE = b" \n"
_json = json.JSONEncoder(separators=(",", ":")).encode
_BEGINNING = b'{"op_code"'


class TransactionalJournal(JournalFileBackend):
    """A journal whose writes inside `transaction()` reach the disk together or not at all.

    Args:
        path: of the file.
        syncs: whether each write waits for the disk. If not, whoever acknowledges one calls `sync` before; several
            threads that do wait for one write of the disk together.
    """

    def __init__(self, path: Path, syncs: bool = True) -> None:
        entries = _repaired(path)
        super().__init__(str(path))
        self._path = path
        self._pending: list[dict[str, Any]] | None = None
        self._lines: list[bytes] = []
        """What is pending, as it goes into the file."""
        self._written = self._synced = len(entries)
        self._syncs = syncs
        self._syncing = threading.Lock()
        self._opened: list[dict[str, Any]] | None = entries
        """The entries read on opening, until the storage has taken them in: a long journal is parsed once."""
        self._failure: RecordError | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold back all writes until the block ends, then write them at once."""
        if self._pending is not None:
            yield
            return
        self._pending = []
        try:
            yield
        finally:
            # Also on an exception: what the in-memory storage has applied must reach the disk too.
            self._pending, lines, self._lines = None, self._lines, []
            if lines:
                self._write(lines)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        if log_number_from < self._written:
            entries, self._opened = self._opened, None
            yield from super().read_logs(log_number_from) if entries is None else entries[log_number_from:]
        if self._pending:
            yield from self._pending[max(log_number_from - self._written, 0) :]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [_json(log).encode() for log in logs]
        if self._pending is None:
            self._write(lines)
            return
        # Copies, as the file would give them back: Optuna may change its objects later.
        self._pending.extend(map(json.loads, lines))
        self._lines += lines

    def sync(self) -> None:
        """Wait until what has been written up to now is on the disk. Any thread may call it.

        Raises:
            RecordError: it cannot be written.
        """
        asked = self._written
        with self._syncing, self._as_failure():
            if self._synced >= asked:
                return
            reached = self._written  # with it goes what others have written since
            with open(self._path, "rb") as file:
                os.fsync(file.fileno())
            self._synced = reached

    def _write(self, lines: list[bytes]) -> None:
        with self._as_failure(), open(self._path, "ab") as file:
            file.write(_MORE.join(lines) + b"\n")
        self._written += len(lines)
        self._opened = None
        if self._syncs:
            self.sync()

    @contextmanager
    def _as_failure(self) -> Iterator[None]:
        if self._failure is not None:  # what is in memory is ahead of the file: only a new start puts that right
            raise self._failure
        try:
            yield
        except OSError as error:
            message = f"{self._path}: cannot be written ({error.strerror}); make room, then resume"
            self._failure = RecordError(message)
            raise self._failure from error


class QueueStorage(JournalStorage):
    """Optuna's storage on a journal, for its one writer, who knows whether any trial waits.

    Optuna looks through all trials for one that waits whenever it is asked for another: with thousands of them that is
    most of what handing out costs.
    """

    def __init__(self, journal: BaseJournalBackend) -> None:
        super().__init__(journal)
        self.any_waits: Callable[[], bool] = lambda: True

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,) and not self.any_waits():
            return []
        return super().get_all_trials(study_id, deepcopy, states)


class ReadOnlyJournal(BaseJournalBackend):
    """A journal's complete transactions as they are now, read once; for those who only look.

    Raises:
        RecordError: see `read`.
    """

    def __init__(self, path: Path) -> None:
        self._entries, _ = read(path)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        yield from self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise NotImplementedError("this journal is only read")


class FollowedJournal(BaseJournalBackend):
    """A journal's complete transactions, as more of them are written; for those who watch.

    Raises:
        RecordError: see `read`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[dict[str, Any]] = []
        self._offset = 0

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        if self._path.exists():
            entries, length = read(self._path, self._offset)
            self._entries += entries
            self._offset += length
        yield from self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise NotImplementedError("this journal is only read")


def _repaired(path: Path) -> list[dict[str, Any]]:
    """A journal's entries, with an unfinished transaction cut off its end."""
    if not path.exists():
        return []
    entries, kept = read(path)
    if kept < path.stat().st_size:
        with open(path, "r+b") as file:
            file.truncate(kept)
            os.fsync(file.fileno())
    return entries


def read(path: Path, begin: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The entries of a journal's complete transactions, and their length in bytes; changes nothing.

    Args:
        begin: the byte to begin at, where a transaction ends.

    Raises:
        RecordError: unreadable, or not a journal: a line that is no JSON object with an `op_code`.
    """
    try:
        with open_to_read(path) as file:
            file.seek(begin)
            content = file.read()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    kept = content[: content.rfind(b"\n") + 1]
    while kept.endswith(_MORE):
        kept = kept[: kept.rfind(b"\n", 0, -1) + 1]
    entries = _parsed(path, kept.splitlines())
    if not begin and not kept and content[: len(_BEGINNING)] != _BEGINNING[: len(content)]:
        raise RecordError(f"{path}: is not an Optuna journal; restore the file from a copy")
    return entries, len(kept)


def _parsed(path: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    try:
        entries = json.loads(b"[%b]" % b",".join(lines))  # at once: twice as fast as line by line
    except (ValueError, RecursionError):
        entries = []
    if len(entries) == len(lines) and all(isinstance(log, dict) and "op_code" in log for log in entries):
        return list(entries)
    number = next((number for number, line in enumerate(lines, start=1) if not _is_entry(line)), 1)
    raise RecordError(f"{path}: line {number} is not an entry of an Optuna journal; restore the file from a copy")


def _is_entry(line: bytes) -> bool:
    try:
        log = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(log, dict) and "op_code" in log
