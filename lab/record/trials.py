"""Trials as the stages after the ledger read them: from the storage, without disturbing who writes it."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend

from lab.errors import TRUST, RecordError
from lab.record.folder import Record
from lab.record.journal import QueueStorage, ReadOnlyJournal
from lab.record.trial_schema import StoredTrial
from lab.spec.plan import ENDED, Store, study_name
from lab.spec.space import Params
from lab.spec.trial import Outcome, Trial

_LONGEST_REASON = 300
_DAMAGE = (LookupError, AssertionError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What Optuna, and who reads its trials, raise on a journal whose lines are JSON and make no sense."""


def readable(path: Path) -> AbstractContextManager[None]:
    return _JournalErrors(path)


@dataclass
class _JournalErrors(AbstractContextManager[None]):
    """Turns what Optuna raises on a damaged journal into one line."""

    path: Path

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, _DAMAGE):
            said = " ".join(str(error).split())[:_LONGEST_REASON]
            raise RecordError(
                f"{self.path}: is damaged or not this study's ({type(error).__name__}: {said})"
            ) from error


def open_storage(store: Store | None, journal: BaseJournalBackend | None) -> BaseStorage:
    """The storage of a ledger: a database, or a journal file.

    Raises:
        RecordError: the database cannot be opened, or must not be; its URL, which may hold a password, is not repeated.
    """
    if store is None:
        assert journal is not None  # the caller opens the journal of the study folder
        return QueueStorage(journal)
    return _connected(store, read_only=False)


def storage_to_read(store: Store | None, journal: BaseJournalBackend | None) -> BaseStorage | None:
    """The same for those who only look: they make no database and no table. None where there is none yet.

    Raises:
        RecordError: as `open_storage`.
    """
    if store is None:
        return open_storage(store, journal)
    from lab.record.database import holds_trials  # SQLAlchemy takes .1 s, and most studies have no database

    if not store.foreign and not holds_trials(store):
        return None
    return _connected(store, read_only=True)


def _connected(store: Store, read_only: bool) -> RDBStorage:
    if store.foreign:
        said = "storage: the trials are in a database that the study's folder names, which you have not begun here"
        raise RecordError(f"{said}; {TRUST}")
    from lab.record.database import cannot_open, read_only_url, url

    try:
        if not read_only:
            return RDBStorage(url(store))
        address, options = read_only_url(store)
        return RDBStorage(address, options, skip_table_creation=True)
    except Exception as error:  # SQLAlchemy's and the drivers' errors have no common base
        raise cannot_open(store, error) from error


def close_storage(storage: BaseStorage) -> None:
    """Give a database's connections back; a journal holds none."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@dataclass(frozen=True)
class TrialRow:
    """One trial as the stages after it read it."""

    number: int
    trial: Trial
    outcome: Outcome | None = None
    score: float | None = None
    curve: dict[int, float] = field(default_factory=dict)
    detail: str = ""
    seconds: float | None = None
    plan_index: int | None = None
    proposed_as: int | None = None
    """The number under which it was proposed; another than its own where it was preempted and ran again."""
    step_losses: list[float | None] = field(default_factory=list, repr=False)
    metrics: dict[str, float | None] = field(default_factory=dict)
    epoch_metrics: dict[int, dict[str, float | None]] = field(default_factory=dict, repr=False)
    """Metrics by epoch, where the study keeps them."""
    ended_at: float | None = None
    """Seconds since 1970; None while it runs."""

    @property
    def params(self) -> Params:
        return self.trial.params

    @property
    def turn(self) -> int:
        """What trials are in order by, whatever was preempted."""
        return self.number if self.proposed_as is None else self.proposed_as


def read_trials(record: Record, stage: str, store: Store | None = None) -> list[TrialRow]:
    """A stage's trials in the order in which they were proposed, read without disturbing a ledger that is writing
    them; preempted ones are left out.

    Raises:
        RecordError: the journal is damaged, or holds fewer trials than the complete stage had.
    """
    return read_stages(record, (stage,), store)[stage]


def read_stages(record: Record, stages: Sequence[str], store: Store | None = None) -> dict[str, list[TrialRow]]:
    """The trials of several stages, for the price of one; see `read_trials`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = _read(record, stages, store)
    for stage, rows in trials.items():
        artefact = record.artefact(stage) or {}
        had = _trials_of(artefact)
        ended = sum(row.outcome is not None for row in rows)
        if ended < had:
            message = f"holds {ended} ended trials of stage '{stage}', which had {had}"
            raise RecordError(f"{record.journal_path}: {message}; restore it from a copy")
    return trials


def _trials_of(artefact: Mapping[str, Any]) -> int:
    """The trials that a stage had when it was complete; 0 where its artefact does not say so in numbers."""
    outcomes = artefact.get("outcomes")
    counts = outcomes.values() if isinstance(outcomes, dict) else [artefact.get("trials", 0)]
    return sum(count for count in counts if isinstance(count, int))


def _read(record: Record, stages: Sequence[str], store: Store | None) -> dict[str, list[TrialRow]]:
    if store is None and not record.journal_path.exists():
        return {stage: [] for stage in stages}
    with readable(record.journal_path), _nothing_to_collect():
        opened = storage_to_read(store, None if store else ReadOnlyJournal(record.journal_path))
        if opened is None:
            return {stage: [] for stage in stages}
        try:
            stored = {stage: _stored(opened, study_name(store, stage)) for stage in stages}
        finally:
            close_storage(opened)
        rows = {stage: _rows(trials) for stage, trials in stored.items()}
    return {s: [row for row in have if row.outcome is not Outcome.PREEMPTED] for s, have in rows.items()}


@contextlib.contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Pause garbage collection.

    10,000 trials make 500,000 objects, which all stay. The search for garbage among them took a quarter of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def failures(rows: Iterable[TrialRow]) -> list[str]:
    """Reasons why trials failed, the most frequent first: each with its count and the last line of what was raised."""
    broken = (Outcome.FAILED, Outcome.OUT_OF_MEMORY)
    reasons = Counter((row.detail.strip().splitlines() or ["no reason"])[-1] for row in rows if row.outcome in broken)
    return [f"{count} failed with: {reason[:_LONGEST_REASON]}" for reason, count in reasons.most_common()]


def why_ended(record: Record, stage: str, store: Store | None = None) -> str | None:
    """The reason why a search ended before its last trial; None where it did not."""
    journal = None if store else ReadOnlyJournal(record.journal_path)
    with readable(record.journal_path):
        opened = storage_to_read(store, journal)
        if opened is None:
            return None
        try:
            study = optuna.load_study(study_name=study_name(store, stage), storage=opened)
            return study.user_attrs.get(ENDED) or None
        finally:
            close_storage(opened)


def _stored(storage: BaseStorage, name: str) -> list[StoredTrial]:
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return []
    return [StoredTrial(trial) for trial in study.get_trials(deepcopy=False)]


def _rows(trials: Iterable[StoredTrial]) -> list[TrialRow]:
    proposed: dict[int, int] = {}
    for trial in trials:
        replaces = trial.replaces
        proposed[trial.number] = trial.number if replaces is None else proposed[replaces]
    rows = [row_of(trial, proposed[trial.number]) for trial in trials if trial.is_planned]
    return sorted(rows, key=lambda row: row.turn)


def row_of(stored: StoredTrial, proposed_as: int | None = None) -> TrialRow:
    """A trial of the storage as the stages read it."""
    return TrialRow(
        number=stored.number,
        trial=stored.trial,
        outcome=stored.outcome,
        score=stored.score,
        curve=stored.curve,
        detail=stored.detail,
        seconds=stored.seconds,
        plan_index=stored.plan_index,
        proposed_as=proposed_as,
        step_losses=stored.step_losses,
        metrics=stored.metrics,
        epoch_metrics=stored.epoch_metrics,
        ended_at=stored.ended_at,
    )
