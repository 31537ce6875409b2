"""Pruning a finished study: of its weights, those that only served to choose, what lanes had saved, and what was
trained beside it and interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.errors import RecordError
from lab.record.checkpoints import checkpoints_in
from lab.record.folder import Record
from lab.record.snapshots import snapshots_in
from lab.spec.folder_names import DISTILL, PSEUDO, SUSPECTS, side_pattern
from lab.stages import STAGES, ensemble, refit
from lab.stages.ensemble import Member
from lab.stages.second_round import second_round_of
from lab.study.extend import asides_in
from lab.study.size import shown, size_of
from lab.study.study import Study


@dataclass(frozen=True)
class Spare:
    """The files in one of a study's folders that nothing needs any more."""

    files: tuple[Path, ...]
    what: str
    why: str
    whole: Path | None = None
    """Their folder, where it goes with them."""
    name: str = ""
    """What their folder is called, if not by its last part."""

    @property
    def line(self) -> str:
        """The same as a line of text."""
        name = self.name or (self.whole or self.files[0].parent).name
        return f"{name:9} {len(self.files)} {self.what}, {shown(size_of(self.files))}: {self.why}"


def prune(study: Study, say: Callable[[str], object], dry_run: bool = False) -> None:
    """Say which files of a finished study nothing needs any more, then delete them.

    What is handed out stays, and so do the members of the ensemble that was chosen before the refit: the study predicts
    and is reported, exported and extended as before. One that was killed on the way is pruned by another.

    Args:
        dry_run: delete nothing.

    Raises:
        RecordError: another user has begun the study, another process works on it, it is not complete, or its folder
            is not what it was. Nothing is deleted then. Or a file cannot be deleted.
    """
    study.require_own()
    with study.record.driver_lock():
        spare = spare_in(study.record)
        for one in spare:
            say(one.line)
        files = [path for one in spare for path in one.files]
        size = shown(size_of(files))
        if not spare:
            say("there is nothing to free")
        elif dry_run:
            say(f"{size} would be freed")
        else:
            _delete(files)
            for one in spare:
                if one.whole is not None:
                    shutil.rmtree(one.whole, ignore_errors=True)  # of what is left, no file counts
            say(f"{size} freed")


def spare_in(record: Record) -> list[Spare]:
    """The files of a finished study that nothing needs any more, by folder; deletes nothing.

    Raises:
        RecordError: the study is not complete, or its folder is not what it was.
    """
    beside = sorted(path for what in (SUSPECTS, DISTILL, PSEUDO) for path in record.folder.glob(side_pattern(what)))
    asides = asides_in(record)
    before = [aside / own.name for aside in asides for own in record.weight_folders]
    for folder in (*record.weight_folders, record.lanes_folder, *beside, *asides, *before):
        if folder.is_symlink():
            raise RecordError(f"{folder}: is a link, and nothing is deleted through one")
    if record.extension_path.exists():
        raise RecordError(f"{record.folder}: is being extended; resume the study first")
    for stage in STAGES:
        if not stage.is_complete(record):
            raise RecordError(f"{record.folder}: stage '{stage.name}' has not run; only a finished study is pruned")
    chosen, refitted = ensemble.STAGE.if_any(record), refit.STAGE.if_any(record)
    second = second_round_of(record)
    spares = [
        _unneeded(record.final_folder, () if chosen is None else chosen.chosen.members),
        _unneeded(record.refit_folder, () if refitted is None else refitted.members),
        _unneeded(record.second_folder, second.members if second is not None and second.kept else ()),
        Spare(tuple(checkpoints_in(record.lanes_folder)), "checkpoints", "of stages that have ended"),
        *(_outdated(folder) for folder in before),
    ]
    return [spare for spare in spares if spare.files] + [_interrupted(folder) for folder in beside if folder.is_dir()]


def _interrupted(folder: Path) -> Spare:
    files = tuple(sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()))
    what = folder.name.rpartition("-")[0]
    return Spare(files, "files", f"of an interrupted `{what}`, which would begin anew", folder)


def _outdated(folder: Path) -> Spare:
    """The weights of what was concluded before an extension; page, trials and conclusions stay to be read."""
    files = tuple(path for _, path in snapshots_in(folder))
    name = f"{folder.parent.name}/{folder.name}"
    return Spare(files, "snapshots", "of what was concluded before an extension", name=name)


def _unneeded(folder: Path, members: Iterable[Member]) -> Spare:
    needed = {member.file for member in members}
    for name in sorted(needed):
        if not (folder / name).is_file():
            raise RecordError(f"{folder / name}: is missing, and is not to be had again; restore it from a copy")
    files = tuple(path for _, path in snapshots_in(folder) if path.name not in needed)
    return Spare(files, "snapshots", "not among those that were chosen")


def _delete(files: Iterable[Path]) -> None:
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RecordError(f"{path}: cannot be deleted ({error.strerror}); mend that, then prune again") from error
