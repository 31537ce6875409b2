"""Trials as they change: a study that goes on is looked at again and again, and only what is new is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.study import StudyDirection

from lab.record.folder import Record
from lab.record.journal import FollowedJournal
from lab.record.trial_schema import StoredTrial
from lab.record.trials import TrialRow, close_storage, readable, row_of, storage_to_read
from lab.spec.plan import Direction, Store, study_name

_Seen: TypeAlias = tuple[int, bool, int]
"""A trial's id in the storage, whether it has ended, and how many epochs of it were seen."""


class FollowedTrials:
    """A study's trials, read while others write them, without disturbing them.

    Another thread than the study's may look, and only one.
    """

    def __init__(self, record: Record, store: Store | None) -> None:
        self._record, self._store = record, store
        self._storage: BaseStorage | None = None
        self._seen: dict[tuple[str, int], _Seen] = {}

    def look(self, stages: Sequence[str]) -> dict[str, list[TrialRow]]:
        """The trials of each stage that are new, or have had an epoch or ended since the last look.

        Preempted trials are among them.

        Raises:
            RecordError: the journal is damaged, or the database cannot be opened.
        """
        with readable(self._record.journal_path):
            storage = self._storage = self._storage or self._opened()
            if storage is None:
                return {stage: [] for stage in stages}
            return {stage: self._changed(storage, stage) for stage in stages}

    def direction(self, stage: str) -> Direction:
        """Whether more of a stage's score is better; the stage has trials."""
        assert self._storage is not None  # somebody has looked
        study_id = self._storage.get_study_id_from_name(study_name(self._store, stage))
        maximized = self._storage.get_study_directions(study_id)[0] == StudyDirection.MAXIMIZE
        return "maximize" if maximized else "minimize"

    def close(self) -> None:
        if self._storage is not None:
            close_storage(self._storage)

    def _opened(self) -> BaseStorage | None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if self._store is not None:
            return storage_to_read(self._store, None)
        if not self._record.journal_path.exists():
            return None
        return JournalStorage(FollowedJournal(self._record.journal_path))

    def _changed(self, storage: BaseStorage, stage: str) -> list[TrialRow]:
        try:
            study_id = storage.get_study_id_from_name(study_name(self._store, stage))
        except KeyError:  # the stage has not begun
            return []
        changed = []
        for frozen in storage.get_all_trials(study_id, deepcopy=False):
            stored = StoredTrial(frozen)
            if stored.outcome is not None and not stored.state.is_finished():
                continue  # a database has no transactions: it is being ended just now
            seen = (frozen._trial_id, stored.state.is_finished(), len(frozen.intermediate_values))
            if stored.is_planned and self._seen.get((stage, stored.number)) != seen:
                self._seen[stage, stored.number] = seen
                changed.append(row_of(stored))
        return changed
