"""A finished study, as a net begins with what it hands out. Reads JSON and names, runs nothing; no torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.errors import SpecError, TaskError
from lab.spec.folder_names import FINAL, REFIT, TASK_FILE, artefact_file
from lab.spec.snapshot_file import snapshot_of


@dataclass(frozen=True)
class Finished:
    """The folder of a study, which may come from anybody: no link out of it is followed, no pipe waited for."""

    folder: Path

    @cached_property
    def fitted(self) -> Mapping[str, Any]:
        """What its task has learned from the data; nothing where that is no task's that learns.

        Raises:
            TaskError: it is damaged.
        """
        fitted = self._read(TASK_FILE).get("fitted")
        return fitted if isinstance(fitted, dict) else {}

    def handed_out(self) -> Path:
        """The weights of the net that counts most in what it hands out; of equals the first.

        Raises:
            TaskError: it has not finished, hands out no net, or is damaged.
        """
        self._check_complete()
        held = self._read(artefact_file(REFIT))
        return self.chosen() if "skipped" in held else self._best(REFIT, held)

    def chosen(self) -> Path:
        """The same among those that were chosen before the refit: trained without any validation example.

        Raises:
            TaskError: as `handed_out`.
        """
        self._check_complete()
        return self._best(FINAL, self._read(artefact_file("ensemble")).get("chosen"))

    def _check_complete(self) -> None:
        if not (self.folder / artefact_file(REFIT)).exists():
            resume = f"lab study resume {shlex.quote(str(self.folder))}"
            raise TaskError(f"task.from_study: '{self.folder}' has not finished; {resume}")

    def _best(self, where: str, held: Any) -> Path:
        try:
            nets = [member for member in held["members"] if snapshot_of(str(member["file"])) is not None]
            best = max(nets, key=lambda member: float(member["weight"]))
        except (KeyError, TypeError, ValueError) as error:
            raise TaskError(f"task.from_study: '{self.folder}' hands out no net ({error})") from None
        return self.file(where, str(best["file"]))

    def _read(self, name: str) -> Mapping[str, Any]:
        path = self.file(name)
        try:
            value = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise TaskError(f"{path}: cannot be read ({error})") from None
        if not isinstance(value, dict):
            raise TaskError(f"{path}: holds no JSON object")
        return value

    def file(self, *names: str) -> Path:
        """A file of the folder.

        Raises:
            TaskError: it is missing, or lies elsewhere.
        """
        path = self.folder.joinpath(*names)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise TaskError(f"{path}: is a link out of the study's folder")
        if not path.is_file():
            raise TaskError(f"{path}: is missing, or no file")
        return path


def finished(asked: str) -> Finished:
    """The study that `task.from_study` names.

    Raises:
        SpecError: there is no such study.
    """
    folder = Path(asked)
    if not folder.is_dir():
        raise SpecError("task.from_study", f"'{folder}' is not a folder")
    if not (folder / TASK_FILE).exists():
        raise SpecError("task.from_study", f"'{folder}' holds no study that has begun ({TASK_FILE} is missing)")
    return Finished(folder)
