"""The snapshots that trials leave in a study folder: there as soon as taken, and gone where a trial came to nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from optuna.trial import TrialState

from lab.record.folder import write_bytes
from lab.record.trial_schema import StoredTrial
from lab.spec.plan import Job, SearchPlan
from lab.spec.snapshot_file import snapshot_of


def snapshots_in(folder: Path) -> list[tuple[int, Path]]:
    """The snapshots in a folder with their trials' numbers, each trial's in the order in which they were taken."""
    named = ((snapshot_of(path.name), path) for path in folder.glob("*.safetensors") if path.is_file())
    return [(snapshot[0], path) for snapshot, path in sorted((snapshot, path) for snapshot, path in named if snapshot)]


def snapshots_of(folder: Path, trial: int) -> list[Path]:
    """A trial's snapshots in a folder, in the order in which they were taken."""
    return [path for number, path in snapshots_in(folder) if number == trial]


class Snapshots:
    """The snapshots of a job's trials.

    A running trial's are those of its epochs so far: one that goes on from a checkpoint has them behind it, one that
    is run again from its beginning writes them again.
    """

    def __init__(self, job: Job) -> None:
        self._root = job.folder
        self._folder = job.folder / job.training.weights
        # Trials of a stage that keeps nothing have the numbers of others', whose snapshots these are.
        self._keeps = not isinstance(job.plan, SearchPlan) and any(trial.keep for trial in job.plan)
        self._needless: set[int] = set()

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write what a trial has left, by name in the study folder.

        Raises:
            RecordError: the disk is full or read-only.
        """
        for name, content in files.items():
            write_bytes(self._root / name, content)

    def forget(self, trial: int) -> None:
        """Note that a trial has ended whose snapshots nobody needs."""
        self._needless.add(trial)

    def take_forgotten(self) -> set[int]:
        """The trials that were forgotten since this was asked last."""
        needless, self._needless = self._needless, set()
        return needless

    def delete(self, trials: Iterable[int]) -> None:
        """Delete what trials have left, once the disk says that they have ended: one that goes on later needs it."""
        self._delete(path for trial in trials for path in snapshots_of(self._folder, trial))

    def sweep(self, trials: Iterable[StoredTrial]) -> None:
        """Delete what a killed ledger or another plan has left: snapshots of trials that neither run nor completed."""
        needed = {t.number for t in trials if t.state in (TrialState.RUNNING, TrialState.COMPLETE)}
        self._delete(path for trial, path in snapshots_in(self._folder) if trial not in needed)

    def _delete(self, paths: Iterable[Path]) -> None:
        for path in paths if self._keeps else ():
            with contextlib.suppress(OSError):  # nobody takes it for a completed trial's
                path.unlink()
