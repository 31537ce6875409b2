"""The trials of a study that is extended: kept, deleted or copied under the ledger's own locks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from lab.record.folder import Record
from lab.record.trial_storage import open_to_write
from lab.record.trials import readable
from lab.search.ending import forget
from lab.spec.plan import Store, study_name

_WAIT_S = 20.0
"""How long another writer may take to leave, in seconds."""
_UNFINISHED = "copy that nobody goes on with yet"
"""What a database keeps beside a stage that was copied, until the study that it was copied for goes on with it."""


def go_on(folder: Path, store: Store | None, kept: Sequence[str], dropped: Sequence[str]) -> None:
    """Let the stages `kept` go on, a search that has ended too, and delete the trials of those `dropped`.

    Doing it again changes nothing.

    Raises:
        RecordError: another process writes trials, or they cannot be read or written.
    """
    with (
        open_to_write(folder, kept[-1], store, _WAIT_S) as opened,
        readable(Record(folder).journal_path),
        opened.transaction(),
    ):
        for name in (study_name(store, stage) for stage in dropped):
            if _loaded(opened.storage, name) is not None:
                optuna.delete_study(study_name=name, storage=opened.storage)
        for name in (study_name(store, stage) for stage in kept):
            study = _loaded(opened.storage, name)
            if study is not None:
                forget(study)
                if study.user_attrs.get(_UNFINISHED):
                    study.set_user_attr(_UNFINISHED, False)


def copy_stages(folder: Path, old: Store, new: Store, stages: Sequence[str]) -> None:
    """Copy a study's trials in its database to another study, which has to `go_on` with them.

    Trials that are there already stay as they are, but for those of a copy that nobody has gone on with.

    Raises:
        RecordError: another process writes trials of the other study, or the database cannot be reached.
    """
    with open_to_write(folder, stages[-1], new, _WAIT_S) as opened:
        for stage in stages:
            _copy(opened.storage, old.name(stage), new.name(stage))


def _copy(storage: BaseStorage, source: str, target: str) -> None:
    study, there = _loaded(storage, source), _loaded(storage, target)
    if there is not None:
        if there.get_trials(deepcopy=False) and not there.user_attrs.get(_UNFINISHED):
            return
        optuna.delete_study(study_name=target, storage=storage)
    if study is None:  # the stage has not begun
        return
    copied = optuna.create_study(study_name=target, storage=storage, directions=study.directions)
    # Before anything else: whatever a kill leaves of the copy is seen to be one.
    copied.set_user_attr(_UNFINISHED, True)
    for name, value in storage.get_study_system_attrs(study._study_id).items():
        storage.set_study_system_attr(copied._study_id, name, value)
    for name, value in study.user_attrs.items():
        if name != _UNFINISHED:
            copied.set_user_attr(name, value)
    for trial in study.get_trials(deepcopy=False):
        storage.create_new_trial(copied._study_id, template_trial=trial)


def _loaded(storage: BaseStorage, name: str) -> optuna.Study | None:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
