"""Trials opened to be written: by one process at a time, and in transactions where they are kept in a journal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from lab.record.folder import Record, locked
from lab.record.journal import TransactionalJournal
from lab.record.trials import close_storage, open_storage, readable
from lab.spec.plan import Store


@dataclass(frozen=True)
class OpenedStorage:
    """A storage that nobody else writes to meanwhile."""

    storage: BaseStorage
    journal: TransactionalJournal | None
    """None: a database, which has no transactions over several trials."""
    still_held: Callable[[], None]
    """Raises `RecordError` once a database has given it to others."""

    def transaction(self) -> AbstractContextManager[None]:
        """All that is written inside reaches a journal together or not at all."""
        self.still_held()
        return self.journal.transaction() if self.journal else nullcontext()

    def sync(self) -> None:
        """Wait until all that was written is on the disk; a database sees to that by itself.

        Raises:
            RecordError: it cannot be written.
        """
        if self.journal:
            self.journal.sync()


@contextmanager
def open_to_write(
    folder: Path, stage: str, store: Store | None, wait_s: float, syncs: bool = True
) -> Generator[OpenedStorage]:
    """Hold the storage of a stage.

    Args:
        syncs: see `TransactionalJournal`.

    Raises:
        RecordError: another process holds it after `wait_s`, or it cannot be opened or read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with ExitStack() as stack:
        # A killed driver's ledger may live on for a moment in another process.
        stack.enter_context(locked(folder / ".ledger.lock", f"the ledger of stage '{stage}'", wait_s))
        still_held = stack.enter_context(_held(store, stage, wait_s))
        path = Record(folder).journal_path
        journal = None if store else TransactionalJournal(path, syncs)
        with readable(path):
            storage = open_storage(store, journal)
        stack.callback(close_storage, storage)
        yield OpenedStorage(storage, journal, still_held)


def _held(store: Store | None, stage: str, wait_s: float) -> AbstractContextManager[Callable[[], None]]:
    if store is None:
        return nullcontext(lambda: None)
    from lab.record.database import held  # SQLAlchemy takes .1 s, and most studies have no database

    return held(store, stage, wait_s)
