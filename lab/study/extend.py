"""Extending a finished study: more trials, in the same space or a wider one, and the stages after them anew."""

from __future__ import annotations

import contextlib
from itertools import chain, count
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from lab.errors import SpecError
from lab.record.checkpoints import Checkpoints
from lab.record.folder import Record, write_bytes
from lab.record.journal import TransactionalJournal
from lab.record.spec_file import dump_spec, read_spec
from lab.record.trials import close_storage, open_storage, read_stages, readable
from lab.search.ending import forget
from lab.spec.distributions import distribution
from lab.spec.space import Dimension, FromBounds
from lab.spec.study import StudySpec
from lab.stages import STAGES, bounds, explore
from lab.stages.from_bounds import space_of

_OUTDATED = tuple(stage for stage in STAGES if stage.extended != "stays")
"""Stages whose artefacts more trials make out of date."""
_FORGOTTEN = tuple(stage.name for stage in STAGES if stage.extended == "anew" and stage.trainings)
"""Of these, stages whose trials are made anew too."""
_TRAINED = tuple(stage.name for stage in STAGES if stage.extended != "anew" and stage.trainings)
"""Stages whose trials stay."""
_GO_ON = tuple(stage.name for stage in STAGES if stage.extended == "goes on")
"""Of these, stages that make more."""
_MAY_CHANGE = {"search", "space", "until", "confirm", "final", "provenance", "execution"}


def extend(record: Record, new: StudySpec) -> Path:
    """Make `new` the record's study: its trials stay, what was concluded from them is put aside and made anew.

    Returns:
        The folder inside the record that keeps what was concluded before.

    Raises:
        RecordError: the ledger is damaged, or another process runs the study.
        SpecError: something else than trials, space, confirm and final changed, or old trials do not fit into it.
    """
    with record.driver_lock():
        old = read_spec(record.spec_path)
        _check(record, old, new)
        read_stages(record, _TRAINED, old.store)  # refuses a damaged ledger before anything is put aside
        aside = _free(record.folder, f"before-{old.search.trials}-trials")
        # The order makes an interruption harmless: until the spec is written, the old study resumes by itself.
        aside.mkdir()
        names = [*(stage.path(record) for stage in _OUTDATED), record.final_folder]
        for path in [*names, record.folder / Record.REPORT, record.folder / Record.TRIALS]:
            with contextlib.suppress(FileNotFoundError):
                path.rename(aside / path.name)
        for stage in _FORGOTTEN:
            Checkpoints(record.folder, stage).clear()
        _carry(record, old, new)
        write_bytes(record.spec_path, dump_spec(new).encode())
    return aside


def _free(folder: Path, name: str) -> Path:
    """A name that no extension before this one has taken, by time or target alone or by one that broke off."""
    taken = {path.name for path in folder.iterdir()}
    return folder / next(n for n in chain([name], (f"{name}-{i}" for i in count(2))) if n not in taken)


def _check(record: Record, old: StudySpec, new: StudySpec) -> None:
    before, after = old.model_dump(), new.model_dump()
    changed = [name for name, value in before.items() if name not in _MAY_CHANGE and after[name] != value]
    if changed:
        allowed = "search.trials, space, until, confirm and final"
        raise SpecError(changed[0], f"cannot change when a study is extended; allowed are {allowed}")
    searched = [name for name, value in before["search"].items() if name != "trials" and after["search"][name] != value]
    if searched:
        raise SpecError(f"search.{searched[0]}", "cannot change when a study is extended")
    # Of a search that has made all its trials, a wider space alone would be searched by none.
    explored = explore.STAGE.if_any(record)
    ended = explored is not None and bool(explored.ended)
    goes_on = new.until != old.until or (ended and new.space != old.space)
    if new.search.trials < old.search.trials + (0 if goes_on else 1):
        raise SpecError("search.trials", f"{new.search.trials!r} is not above the {old.search.trials} there are")
    if list(new.space) != list(old.space):
        raise SpecError("space", f"has other hyperparameters than {', '.join(old.space)}")
    searched_in = space_of(old, record) if bounds.STAGE.read(record) else old.space
    for name, dimension in searched_in.items():
        if not isinstance(new.space[name], FromBounds):
            if not isinstance(dimension, FromBounds):  # else nothing has been drawn from it yet
                _check_wider(name, dimension, new.space[name])
        elif not isinstance(old.space[name], FromBounds):
            raise SpecError(f"space.{name}", "was given; it cannot be taken from the range test now")


def _check_wider(name: str, old: Dimension, new: Dimension) -> None:
    if old.when != new.when:
        raise SpecError(f"space.{name}.when", "cannot change when a study is extended")
    kept, wider = distribution(old), distribution(new)
    try:
        optuna.distributions.check_distribution_compatibility(kept, wider)
    except ValueError:
        raise SpecError(f"space.{name}", "may become wider, and nothing else: old trials have to fit into it") from None
    low, high = getattr(kept, "low", 0), getattr(kept, "high", 0)
    if getattr(wider, "low", low) > low or getattr(wider, "high", high) < high:
        raise SpecError(f"space.{name}", f"is narrower than {low:g} to {high:g}; old trials have to fit into it")


def _carry(record: Record, old: StudySpec, new: StudySpec) -> None:
    """Keep the trials of `bounds` and `explore`; those of the later stages belong to what was put aside."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = None if old.store else TransactionalJournal(record.journal_path)
    with readable(record.journal_path):
        storage = open_storage(old.store, journal)
        try:
            if old.store is None:
                assert journal is not None  # opened above
                with journal.transaction():
                    for stage in _FORGOTTEN:
                        with contextlib.suppress(KeyError):
                            optuna.delete_study(study_name=stage, storage=storage)
                    for stage in _GO_ON:
                        _go_on(stage, storage)
                return
            assert new.store is not None  # the storage cannot change
            for stage in _TRAINED:
                with contextlib.suppress(KeyError, optuna.exceptions.DuplicatedStudyError):
                    optuna.copy_study(
                        from_study_name=old.store.name(stage),
                        from_storage=storage,
                        to_storage=storage,
                        to_study_name=new.store.name(stage),
                    )
            for stage in _GO_ON:
                _go_on(new.store.name(stage), storage)
        finally:
            close_storage(storage)


def _go_on(name: str, storage: BaseStorage) -> None:
    """A search that ended before its last trial is not held to that."""
    with contextlib.suppress(KeyError):
        forget(optuna.load_study(study_name=name, storage=storage))
