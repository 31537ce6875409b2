"""The checkpoints of lanes in a study folder; a trial that was moved to another lane has a copy of its own."""

from __future__ import annotations

from pathlib import Path

from lab.errors import RecordError
from lab.record.folder import Record, read_bytes, write_bytes


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of all stages in the folder where lanes leave them."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


class Checkpoints:
    """The checkpoints of a stage's lanes in a study folder."""

    def __init__(self, folder: Path, stage: str) -> None:
        self._folder, self._stage = Record(folder).lanes_folder, stage

    def write(self, lane: int, state: bytes) -> None:
        """Keep a lane's latest checkpoint."""
        write_bytes(self._of_lane(lane), state)

    def read(self, lane: int) -> bytes | None:
        """A lane's latest checkpoint; None where it has saved nothing."""
        return _content(self._of_lane(lane))

    def keep(self, trial: int, source: int) -> None:
        """Keep a copy of the latest checkpoint of the lane `source`, from which a trial is taken.

        The lost lane overwrites its own when it is back. A copy that is newer stays: the checkpoint was saved before
        the trial came to that lane.
        """
        checkpoint, kept = self._of_lane(source), self._of_trial(trial)
        if checkpoint.exists() and (not kept.exists() or _age(checkpoint) > _age(kept)):
            content = _content(checkpoint)
            if content is not None:  # it was not forgotten meanwhile
                write_bytes(kept, content)

    def kept(self, trial: int) -> bytes | None:
        """The checkpoint from which a moved trial goes on; None where it was not moved, or nothing had been saved."""
        return _content(self._of_trial(trial))

    def forget(self, trial: int) -> None:
        """Delete the copy of a moved trial that has ended."""
        self._of_trial(trial).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all checkpoints of the stage: it has ended, or begins anew with other trials of the same numbers."""
        for path in self._folder.glob(f"{self._stage}-*.safetensors"):
            path.unlink(missing_ok=True)

    def _of_lane(self, lane: int) -> Path:
        return self._folder / f"{self._stage}-{lane}.safetensors"

    def _of_trial(self, trial: int) -> Path:
        return self._folder / f"{self._stage}-moved-{trial}.safetensors"


def _content(path: Path) -> bytes | None:
    """A file's bytes; None where there is none.

    Raises:
        RecordError: there is something that cannot be read.
    """
    try:
        return read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):  # the latter is told by who writes there
        return None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns
