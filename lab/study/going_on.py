"""How a study and its folder come together: what is there is gone on with or refused, what is left open is settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from lab.errors import RecordError, SpecError
from lab.record.folder import Record, write_bytes
from lab.record.provenance import provenance
from lab.record.spec_file import dump_spec, read_spec
from lab.record.trust import check_files, open_spec, refusal, sign
from lab.spec.study import StudySpec
from lab.stages import TRAINS
from lab.study.budget import divided
from lab.study.check import check_components, unread_doubts
from lab.study.data import open_data
from lab.study.kept_files import keep_files
from lab.study.machines import on_machine_of
from lab.study.objective import settled
from lab.study.same import difference, moved
from lab.study.undecided import lines, with_undecided


def stored_spec(record: Record, *, trust: bool = False) -> StudySpec:
    """The spec that a study's folder holds.

    Args:
        trust: trust a study that another user has begun, from now on.

    Raises:
        RecordError: the folder holds none, or is another user's and leads out of itself.
    """
    record.require()
    try:
        if trust:
            sign(record, read_spec(record.spec_path))
        return open_spec(record)
    except SpecError as error:
        raise RecordError(f"{record.spec_path}: is damaged: {error}") from error


def require_own(spec: StudySpec, record: Record) -> None:
    """Refuse to change a study that another user has begun, or one whose files are links.

    Raises:
        RecordError: with what to say to trust it.
    """
    if spec.task.foreign:
        raise refusal(record)
    check_files(record)


def adopted(spec: StudySpec, record: Record) -> StudySpec:
    """The spec of what the folder holds, where a study has begun there; else the one that is asked for.

    Raises:
        RecordError: the folder holds something else.
        SpecError: what is asked for cannot be run.
    """
    from lab.study.extend import finish  # as in `check_components`

    require_own(spec, record)
    check_components(spec, begun=record.begun)
    _refuse_another(spec, record)
    if record.exists() and (finish(record) or record.begun):
        stored = stored_spec(record)
        # With the task object where the caller has one, and its files where the caller has them.
        task = replace(moved(stored.task, spec.task), instance=spec.task.instance, opened=spec.task.opened)
        stored = stored.model_copy(update={"task": replace(task, foreign=False)})
        return on_machine_of(spec, stored)
    return with_undecided(spec)


def settle(
    spec: StudySpec, record: Record, files: Mapping[str, Path], say: Callable[[str], None], ahead: bool
) -> tuple[StudySpec, tuple[str, ...]]:
    """Write the spec with all that it leaves open.

    Args:
        files: tables that the folder is to keep, by the task's option.
        say: shows the user a line.
        ahead: whether any stage is; what is complete needs its data no more.

    Returns:
        The spec, its data opened where any stage is ahead, and what is doubtful in it.

    Raises:
        LabError: it cannot be trained.
    """
    if not record.begun:
        spec = write_spec(spec, record)
    keep_files(record.folder, files)
    doubts: tuple[str, ...] = ()
    if ahead:
        spec, data_doubts = open_data(spec, record)
        spec, ranked = settled(spec)
        if (planned := divided(spec)) is not spec:
            spec = write_spec(planned, record)
            for decision in planned.budget.decisions if planned.budget else ():
                say(f"budget    {decision}")
        spec = spec.model_copy(update={"search": spec.search.settled()})
        for line in lines(spec):
            say(f"space     {line}")
        if ranked is not None:
            say(f"search    {ranked}")
        doubts = (*data_doubts, *unread_doubts(spec))
    if record.begun:  # not before its data were seen to be the same, where they have moved
        _take_trials_along(spec, record)
        spec = write_spec(spec, record)
    return spec, doubts


def write_spec(spec: StudySpec, record: Record) -> StudySpec:
    """Write the spec into the study's folder, as this user's; the spec with who wrote it, by what."""
    spec = spec.model_copy(update={"provenance": {**spec.provenance, **provenance()}})
    sign(record, spec)  # first: whoever finds the spec shall know whose it is
    write_bytes(record.spec_path, dump_spec(spec).encode())
    return spec


def _take_trials_along(spec: StudySpec, record: Record) -> None:
    """A database keeps trials under a name that follows from the spec, folders included."""
    from lab.record.carry_over import copy_stages, go_on

    before, now = stored_spec(record).store, spec.store
    if before is not None and now is not None and before != now:
        copy_stages(record.folder, before, now, TRAINS)
        go_on(record.folder, now, TRAINS, ())


def _refuse_another(spec: StudySpec, record: Record) -> None:
    folder = record.folder
    if record.exists():
        # What another has begun may be gone on with by whoever asks the same in a spec of their own.
        stored = stored_spec(record)
        other = difference(stored, spec) if record.begun else None
        if other is not None:
            raise RecordError(f"{folder}: holds another study ('{stored.name}'): {other}; choose another --dir")
    elif folder.exists() and not (folder.is_dir() and record.only_begun()):
        raise RecordError(f"{folder}: is not empty and holds no study; choose another --dir")
