"""Extending a finished study: more trials, in the same space or a wider one, and the stages after them anew."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from itertools import chain, count, takewhile
from pathlib import Path

import optuna

from lab.errors import RecordError, SpecError
from lab.record.carry_over import copy_stages, go_on
from lab.record.checkpoints import Checkpoints
from lab.record.folder import Record, read_json, write_bytes, write_json
from lab.record.spec_file import dump_spec, read_spec
from lab.record.trials import read_stages
from lab.spec.distributions import distribution
from lab.spec.space import Dimension, FromBounds
from lab.spec.study import StudySpec
from lab.stages import STAGES, bounds, explore
from lab.stages.from_bounds import space_of
from lab.stages.second_round import second_round_path
from lab.study.same import unequal

_OUTDATED = tuple(stage for stage in STAGES if stage.extended != "stays")
"""Stages whose artefacts more trials make out of date."""
_FORGOTTEN = tuple(stage.name for stage in STAGES if stage.extended == "anew" and stage.trainings)
"""Outdated stages whose trials are made anew too."""
_TRAINED = tuple(stage.name for stage in STAGES if stage.extended != "anew" and stage.trainings)
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
        _finish(record)
        old = read_spec(record.spec_path)
        _check(record, old, new)
        read_stages(record, _TRAINED, old.store)  # refuses a damaged ledger before anything is put aside
        if old.store is not None and new.store is not None:
            copy_stages(record.folder, old.store, new.store, _TRAINED)
        aside = next(path for path in _asides(record, old) if not path.exists())
        # The spec decides: an extension that is interrupted before it is written has changed nothing, and one that is
        # interrupted afterwards is finished by whoever runs the study next.
        write_json(record.extension_path, {"aside": aside.name, "before": _digest(record.spec_path)})
        write_bytes(record.spec_path, dump_spec(new).encode())
        _finish(record)
    return aside


def finish(record: Record) -> bool:
    """Finish an extension that was interrupted, or forget one that had not changed the study yet.

    Returns:
        Whether there was one; the record's spec may be another then.

    Raises:
        RecordError: a file cannot be read or written, or another process runs the study.
    """
    if not (record.extension_path.exists() or _half_aside(record)):
        return False
    with record.driver_lock():
        _finish(record)
    return True


def _finish(record: Record) -> None:
    """Doing again what was done before an interruption changes nothing."""
    path = record.extension_path
    if not path.exists():
        _take_back(record)
        return
    begun = read_json(path)
    aside = begun.get("aside")
    if not isinstance(aside, str) or Path(aside).name != aside:
        raise RecordError(f"{path}: names no folder to put aside to; restore it from a copy")
    if begun.get("before") != _digest(record.spec_path):
        spec = read_spec(record.spec_path)
        _put_aside(record, record.folder / aside)
        for stage in _FORGOTTEN:
            Checkpoints(record.folder, stage).clear()
        # A database keeps those of the study before under its name.
        go_on(record.folder, spec.store, _TRAINED, () if spec.store else _FORGOTTEN)
    path.unlink(missing_ok=True)


def _conclusions(record: Record) -> list[Path]:
    stages = [stage.path(record) for stage in _OUTDATED]
    return [*stages, second_round_path(record), *record.weight_folders]


def _put_aside(record: Record, aside: Path) -> None:
    try:
        aside.mkdir(exist_ok=True)
        for path in [*_conclusions(record), record.folder / Record.REPORT, record.folder / Record.TRIALS]:
            with contextlib.suppress(FileNotFoundError):
                path.rename(aside / path.name)
    except OSError as error:
        raise RecordError(f"{aside}: cannot be written ({error.strerror}); mend that, then resume") from error


def _asides(record: Record, spec: StudySpec) -> Iterator[Path]:
    """The folders for what was concluded from so many trials, one for each extension by time or target alone."""
    first = record.folder / f"before-{spec.search.trials}-trials"
    return chain([first], (first.with_name(f"{first.name}-{i}") for i in count(2)))


def asides_in(record: Record) -> list[Path]:
    """The folders that keep what was concluded before each extension."""
    return sorted(record.folder.glob("before-*-trials*"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _half_aside(record: Record) -> Path | None:
    """Where an earlier version has put all conclusions, if it was interrupted before it deleted their trials."""
    if any(path.exists() for path in _conclusions(record)):
        return None
    spec = read_spec(record.spec_path)
    asides = list(takewhile(Path.is_dir, _asides(record, spec)))
    if not asides or not (asides[-1] / record.final_folder.name).is_dir():
        return None
    return asides[-1] if read_stages(record, ("final",), spec.store)["final"] else None


def _take_back(record: Record) -> None:
    """Make the study again what it was: without the weights, the trials that left them could not be concluded from."""
    aside = _half_aside(record)
    if aside is not None:
        # The weights first: without the rest of it, the study comes to its old conclusions again.
        for path in sorted(aside.iterdir(), key=lambda path: path.name != record.final_folder.name):
            path.rename(record.folder / path.name)
        aside.rmdir()


def _check(record: Record, old: StudySpec, new: StudySpec) -> None:
    before, after = old.model_dump(), new.model_dump()
    changed = [names for names in unequal(new.task, before, after) if names[0] not in _MAY_CHANGE]
    if changed:
        allowed = "search.trials, space, until, confirm and final, and where files lie"
        raise SpecError(".".join(changed[0]), f"cannot change when a study is extended; allowed are {allowed}")
    searched = [name for name, value in before["search"].items() if name != "trials" and after["search"][name] != value]
    if searched:
        raise SpecError(f"search.{searched[0]}", "cannot change when a study is extended")
    # A search that has made all its trials would search a wider space with none.
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
