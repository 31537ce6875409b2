"""Which runs are a study's: their ids follow from one that its folder keeps, and which of them have gone where."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

from lab.record.folder import Record, read_json, write_json
from lab.record.trials import TrialRow
from lab.spec.study import StudySpec

_FILE = "wandb_run.json"
_ID = re.compile(r"[0-9a-f]{16}")
_REPORT = re.compile(r"[A-Za-z0-9_:=-]{1,100}")
_LETTERS = 16


class Identity:
    """The ids of a study's runs, wherever its folder has been moved, and the trials' runs that have gone out whole.

    One that an earlier version has begun has what that made of the study's name and the folder's place.
    """

    def __init__(self, spec: StudySpec, record: Record) -> None:
        self._path = record.folder / _FILE
        kept = read_json(self._path) if self._path.exists() else {}
        study_id = kept.get("id")
        self._sent, self._reports = _sent(kept.get("sent")), _reports(kept.get("reports"))
        if isinstance(study_id, str) and _ID.fullmatch(study_id):
            self.study = study_id
        else:
            self.study = hashlib.sha256(f"{spec.name}\0{record.folder.resolve()}".encode()).hexdigest()[:_LETTERS]
            self._write()
        self.group = f"{spec.name}-{self.study[:8]}"
        """What makes its runs one study's: other studies may have its name."""

    def trial(self, stage: str, row: TrialRow) -> str:
        """The id of a trial's run. One that an extended study trains anew under an old number is another."""
        trial = row.trial
        said = json.dumps([self.study, stage, row.number, trial.seed, trial.epochs, dict(trial.params)], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:_LETTERS]

    def sent(self, where: str) -> frozenset[str]:
        """The trials' runs that have gone there whole."""
        return frozenset(self._sent.get(where, ()))

    def note(self, where: str, ids: Iterable[str]) -> None:
        """Note that runs of trials have gone there whole."""
        self._sent[where] = sorted({*self._sent.get(where, ()), *ids})
        self._write()

    def report(self, where: str) -> str:
        """The id of the W&B Report that was made there; empty where there is none."""
        return self._reports.get(where, "")

    def note_report(self, where: str, report_id: str) -> None:
        """Note that a report was made there."""
        self._reports[where] = report_id
        self._write()

    def _write(self) -> None:
        more = {"sent": self._sent, "reports": self._reports}
        write_json(self._path, {"id": self.study} | {name: value for name, value in more.items() if value})


def _sent(kept: object) -> dict[str, list[str]]:
    """As the file has it; what makes no sense there says of nothing that it has been sent."""
    if not isinstance(kept, dict):
        return {}
    lists = {where: ids for where, ids in kept.items() if isinstance(ids, list)}
    return {where: [one for one in ids if isinstance(one, str) and _ID.fullmatch(one)] for where, ids in lists.items()}


def _reports(kept: object) -> dict[str, str]:
    reports = kept.items() if isinstance(kept, dict) else ()
    return {where: one for where, one in reports if isinstance(one, str) and _REPORT.fullmatch(one)}
