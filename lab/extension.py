"""Extending a finished study: more trials, in the same space or a wider one, and the stages after them anew."""

from __future__ import annotations

import contextlib
from itertools import chain, count
from pathlib import Path

import optuna

from lab.checkpoints import Checkpoints
from lab.distributions import distribution
from lab.errors import SpecError
from lab.ledger import copy_stages, go_on
from lab.record import Record, write_bytes
from lab.space import Dimension, FromBounds
from lab.spec import StudySpec
from lab.spec_file import dump_spec, read_spec
from lab.stages.jobs import space_of
from lab.trials import read_stages

_ANEW = ("explore", "explain", "confirm", "final", "ensemble")
"""Stages whose artefacts more trials make out of date."""
_FORGOTTEN = ("confirm", "final")
"""Of these, stages whose trials are made anew too."""
_TRAINED = ("bounds", "explore")
"""Stages whose trials stay."""
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
        names = [*(record.artefact_path(stage) for stage in _ANEW), record.final_folder]
        for path in [*names, record.folder / Record.REPORT, record.folder / Record.TRIALS]:
            with contextlib.suppress(FileNotFoundError):
                path.rename(aside / path.name)
        for stage in _FORGOTTEN:
            Checkpoints(record.folder, stage).clear()
        if old.store is not None and new.store is not None:
            copy_stages(record.folder, old.store, new.store, _TRAINED)
        # A database keeps the trials of the study before under its name.
        go_on(record.folder, new.store, _TRAINED, () if new.store else _FORGOTTEN)
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
    ended = bool((record.artefact("explore") or {}).get("ended"))
    goes_on = new.until != old.until or (ended and new.space != old.space)
    if new.search.trials < old.search.trials + (0 if goes_on else 1):
        raise SpecError("search.trials", f"{new.search.trials!r} is not above the {old.search.trials} there are")
    if list(new.space) != list(old.space):
        raise SpecError("space", f"has other hyperparameters than {', '.join(old.space)}")
    searched_in = space_of(old, record) if record.artefact("bounds") else old.space
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
